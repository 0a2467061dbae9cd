import v8 from 'node:v8'

// Reading and compiling the program makes garbage once. Were the young generation allowed to grow for it,
// the server would hold on to some 30 MB that it never uses again; it may grow when there is load.
v8.setFlagsFromString('--semi-space-growth-factor=1')
const { run } = await import('./run.ts')
await run()
v8.setFlagsFromString('--semi-space-growth-factor=2')
