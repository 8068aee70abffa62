"""A C file that defines every function of a header, doing nothing: stub.py HEADER. Compiled, its debug information is the ABI."""
import pathlib
import re
import sys

header = pathlib.Path(sys.argv[1])
text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
print(f'#include "{header.name}"')
for start, name, arguments in re.findall(r"BMN_API\s+((?:BMN_NODISCARD\s+)?[\w\s*]+?)(bmn_\w+)\(([^;]*)\);", text):
    kind = " ".join(start.replace("BMN_NODISCARD", "").split())
    names = [] if arguments.strip() == "void" else [re.search(r"(\w+)(?:\[\w*\])?\s*$", a).group(1) for a in arguments.split(",")]
    unused = " ".join(f"(void){n};" for n in names)
    print(f"{kind} {name}({' '.join(arguments.split())}) {{ {unused} {'' if kind == 'void' else 'return 0;'} }}")
