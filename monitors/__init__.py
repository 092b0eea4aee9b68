"""What judges: served predictions in panes of event time, their quality over windows, and the rules that alert."""
