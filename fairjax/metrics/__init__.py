"""Pure functions of (scores, labels, weights, groups): discrimination, calibration, disparity.

How the metrics of all subgroups are computed at once, under many weightings of the samples:

    samples        0  1  2  3  4  5  6        subgroup 0: all; subgroup 1: samples 1, 2, 5
    label          0  1  0  0  1  1  0

    `subgroups.Subgroups`: for either label, the members of each subgroup in blocks (of 4 here, of
    BLOCK = 32 really); a block is of one subgroup, and its rest is padding (·), of weight 0

        label 0    | 0 2 3 6 | · · · · | 2 · · · |        label 1    | 1 4 5 · | 1 5 · · |
        subgroup   |    0    |    0    |    1    |        subgroup   |    0    |    1    |

    `layout.Layout`, by `evaluate.prepare`, once for each run: the same entries, those of a subgroup
    ordered by falling score, with their statistics (columns of `sums.SUMS`, such as "the score is
    above the threshold") and, for each positive, how many negatives have a higher score

        label 0    | 6 0 3 2 | · · · · | 2 · · · |        label 1    | 5 4 1 · | 5 1 · · |

    `entries.Entries`, by `evaluate.evaluate`, for each replicate of the bootstrap: the weights of
    the entries, gathered. Then
      - `sums`: weights × statistics, summed over the blocks of each subgroup, in one product;
      - `ordered`, `calibration` (`table.DERIVED`): what needs cumulative weights within a subgroup
        (the AUC: how much weight of negatives is above each positive), or steps of Newton's;
      - `table.METRICS`: each metric is a formula of these tallies.
"""
