"""What stands in the sandbox, and nothing else of the project: it holds no answers.

Beside it are the standard library and numpy. `worker` loads a student's file (`submitted`; of a
notebook what is `needed`, with `plots` that draw nothing) and answers `messages`; `seccomp` and
`landlock` take away its rights; `zygote` forks workers. These files import one another only, and
whatever they say is checked on the other side.
"""
