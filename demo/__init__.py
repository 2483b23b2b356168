"""The main job on SoftHSM, with one holder asleep and one who lies."""
