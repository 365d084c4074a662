"""Measurements that README and the reports quote. Machines differ: what counts is the ratio of two sides of one run."""
