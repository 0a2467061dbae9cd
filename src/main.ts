import v8 from 'node:v8'

// Reading and compiling the program is done once, so it is done with memory in mind: left to itself the heap
// grows for it by some 30 MB that the server never uses again. From then on it may grow when there is load.
v8.setFlagsFromString('--optimize-for-size')
v8.setFlagsFromString('--semi-space-growth-factor=1')
const { run } = await import('./run.ts')
await run()
v8.setFlagsFromString('--semi-space-growth-factor=2')
v8.setFlagsFromString('--no-optimize-for-size')
