# Completion of banjour(1) for fish(1): banjour itself knows what may follow.
complete --keep-order --exclusive --command banjour --arguments "(COMPLETE=fish banjour -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token) 2>/dev/null)"
