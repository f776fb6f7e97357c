"""Answers the questions of `init` on a terminal, each when it is asked. Prints what the terminal showed."""

import os
import pty
import select
import sys
import termios
import time

# Answers to these are not shown: the terminal forgets what is typed before it is told so.
HIDDEN = ["secret or service_role key", "Hugging Face token"]
ANSWERS = [
    ("Supabase project's URL", "no url"),
    ("give the project's URL", "https://typed.supabase.co"),
    ("secret or service_role key", "sb_secret_typed"),
    ("Hugging Face token", "hf_typed0"),
    ("exist already", "n"),
    ("App on Fly.io", "typed-app"),
    ("Region of the app", "ams"),
    ("Image to run there", "registry.example/a/b:1-fly"),
]

def wait_until_hidden(terminal):
    deadline = time.monotonic() + 30
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        if time.monotonic() > deadline:
            sys.exit("the terminal shows what is typed")
        os.sched_yield()


child, terminal = pty.fork()
if child == 0:
    environment = {"TERM": "xterm", "PATH": os.environ["PATH"]}
    os.execve(sys.argv[1], [sys.argv[1], "init", "--hf-repo", "owner/given"], environment)

shown, asked = "", 0
for question, answer in ANSWERS:
    while question not in shown[asked:]:
        if not select.select([terminal], [], [], 30)[0]:
            sys.exit(f"{question} was not asked:\n{shown}")
        shown += os.read(terminal, 4096).decode(errors="replace")
    asked = shown.index(question, asked) + len(question)
    if question in HIDDEN:
        wait_until_hidden(terminal)
    os.write(terminal, (answer + "\r").encode())
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece.decode(errors="replace")
print(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
