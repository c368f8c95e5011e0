"""Candidates that nobody named: kinds of saliency maps, groups of images on which a model errs. Suspicions only."""
