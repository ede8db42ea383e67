"""Pure functions of (scores, labels, weights, groups): discrimination, calibration, disparity."""
