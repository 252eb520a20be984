# Python: objects, dictionaries, strings, big integers.
import sys
n = int(sys.argv[1])

class Node:
    def __init__(self, key, left=None, right=None):
        self.key, self.left, self.right = key, left, right

    def insert(self, key):
        node = self
        while True:
            side = "left" if key < node.key else "right"
            child = getattr(node, side)
            if child is None:
                setattr(node, side, Node(key))
                return
            node = child

    def walk(self):
        if self.left:
            yield from self.left.walk()
        yield self.key
        if self.right:
            yield from self.right.walk()

root, x = Node(1 << 31), 12345
for i in range(n):
    x = (x * 1103515245 + 12345) & 0xffffffff
    root.insert(x)
words = {}
for k in root.walk():
    w = "%x" % (k >> 20)
    words[w] = words.get(w, 0) + 1
print(len(words), sorted(words.items(), key=lambda p: (-p[1], p[0]))[:3], pow(3, 10 ** 400, 10 ** 300) % 10 ** 20)
