"""The contract and the configuration as documents that other programs read: JSON Schema and AsyncAPI.

All of it is generated from the models (`edged.contract`, `edged.settings`), and nothing is declared here.

* `catalog`: which schemas there are, by the names that `edged schema` knows, and all files of `configs/schema`
* `generate`: a model as JSON Schema, draft 2020-12
* `descriptions`: what docstrings, and the comments in `configs/edged.toml`, say of a field
* `asyncapi`: topics, operations and messages as an AsyncAPI 3.0 document
"""

from edged.schema.asyncapi import asyncapi
from edged.schema.catalog import bundle, files, names, schema, text

__all__ = ["asyncapi", "bundle", "files", "names", "schema", "text"]
