"""Checks of labs, one module for each lab, named after its topic: ``CHECKS`` is name -> function of the Lab."""
