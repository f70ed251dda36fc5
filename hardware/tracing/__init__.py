"""From a torch module to a layer graph whose every cut can be executed.

`trace` runs the steps: `record` observes what each node of the torch.fx graph does, `rewrite` makes the nodes
independent of each other's memory, `fold` groups them into layers, and `flops` counts the work.
"""
