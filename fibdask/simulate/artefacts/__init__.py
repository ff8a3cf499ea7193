"""What images suffer: shifts, curtains, drifts of brightness, noise, blur."""
