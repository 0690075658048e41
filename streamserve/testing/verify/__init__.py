"""The checker grown: apps run through kills and failing commits, and everything that they have written is judged.

What judges (``inputs``, ``names``, ``truth``, ``panes``, ``judging``, ``watching``, ``history``, ``comparing``,
``findings``) shares no code with the engine; an import contract holds it to that. What drives (``app``, ``feeding``,
``workers``, ``storm``, ``running``, ``own``) starts real worker processes. ``streamserve verify`` is its command.
"""
