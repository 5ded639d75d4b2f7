"""Figures and tables of the paper, each from results or run folders by one command."""
