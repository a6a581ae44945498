"""What stands in the sandbox, and nothing else of the project: the standard library, numpy, no answers.

`worker` loads a student's file (`submitted`: of a notebook what is `needed`; with `plots` that draw
nothing) and answers `messages`; `seccomp` and `landlock` take away its rights; `zygote` forks
workers. These files import one another only; whatever they say is checked on the other side.
"""
