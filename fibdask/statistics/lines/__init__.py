"""Statistics along lines of voxels: correlations, chords, isotropy, fractions."""
