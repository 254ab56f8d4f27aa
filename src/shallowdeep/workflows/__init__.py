"""What each command does, one file each: saved files in, results and files out."""
