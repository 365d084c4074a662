"""ImageNet's classes in seventeen kinds of things: a task of many labels with a fair number of photos each."""

from __future__ import annotations

from benchmarks.targets import INSTRUMENTS, VEHICLES, Groups


def _numbers(text: str) -> set[int]:
    """Return the class indices of a text such as "7-24 80 97-100"."""
    indices: set[int] = set()
    for word in text.split():
        first, _, last = word.partition("-")
        indices |= set(range(int(first), int(last or first) + 1))
    return indices


KINDS: Groups = {
    "birds": _numbers("7-24 80-100 127-146"),
    "buildings": _numbers(
        "415 424 425 437 442 449 454 467 483 497 498 500 509 525 538 562 580 582 624 634 660 663 668 682 698 718 727 "
        "743 762 788 821 825 832 839 853 858 860 865 873 888 900 912 915"
    ),
    "clothes": _numbers(
        "399 400 411 433 439 443 445 451 452 457 459 461 465 474 490 496 501 502 514 515 518 524 529 560 568 578 591 "
        "601 608 610 614 615 617 630 638 639 643 652 655 658 667 689 697 715 735 770 774 775 793 796 806 808 834 836 "
        "837 841 842 869 887 903 906"
    ),
    "cold-blooded": _numbers("0-6 25-68 389-397"),
    "dogs": _numbers("151-268"),
    "electronics": _numbers(
        "409 480-482 485 487 508 527 528 530 531 590 592 605 613 620 632 650 662 664 673 688 707 713 732 742 745 754 "
        "755 759 761 782 810 848 851 878 892"
    ),
    "food": _numbers("924-969"),
    "furniture": _numbers(
        "423 431 435 453 492 493 495 516 520 526 532 548 553 559 564 619 703 721 736 750 765 789 794 799 831 846 857 "
        "861 894 896 904 905"
    ),
    "instruments": set().union(*INSTRUMENTS.values()),
    "invertebrates": _numbers("69-79 107-126 300-329"),
    "kitchenware": _numbers(
        "440 441 463 469 473 499 503-505 512 521 534 544 550 567 572 618 647 653 659 666 725 729 737 738 760 766 773 "
        "809 813 827 828 849 859 868 891 898 899 901 907 909 910 923"
    ),
    "landscapes": _numbers("970 972-980"),
    "mammals": _numbers("101-106 147-150 269-299 330-388"),
    "plants": _numbers("984-998"),
    "sports": _numbers("416 422 429 430 450 522 543 574 602 693 702 722 746 747 752 768 795 801 805 852 890 981 983"),
    "tools": _numbers(
        "418 462 491 507 563 587 596 600 606 621 623 677 695 696 710 726 730 731 740 749 758 767 769 783 784 786 792"
    ),
    "vehicles": set().union(*VEHICLES.values()),
}
