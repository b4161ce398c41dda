"""Reports: pages, plots and figures for people."""
