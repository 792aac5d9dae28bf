"""Former name of `braindino.synthetic`, for scripts of users that import from it."""
