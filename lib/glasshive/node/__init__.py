"""This node: its constants for the datapath (``config``) and its devices (``devices``)."""
