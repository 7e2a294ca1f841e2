"""What decides a run: its configuration, and the recipes that ship, as YAML files beside this one."""
