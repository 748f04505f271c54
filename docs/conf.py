"""Sphinx: the manual as a site: `sphinx-build docs build/docs`."""

project = "Knight Omega"
author = "The Knight Omega authors"
extensions = ["myst_parser"]
html_theme = "alabaster"
html_title = project
myst_heading_anchors = 3
