#!/usr/bin/env node
// Runs the command under the pinned Node, also where the system's own Node is older: this file must load there too.
import { spawn } from 'node:child_process';
import * as nodeModule from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major > 24 || (major === 24 && minor >= 15)) {
  // Compiled code is kept beside the installed packages, for this process and those it starts: halves start-up and memory.
  process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('../../../node_modules/.cache/entrepot', import.meta.url));
  nodeModule.enableCompileCache(process.env.NODE_COMPILE_CACHE);
  await import('../src/main.ts');
} else {
  const platform = `node-${process.platform}-${process.arch}`;
  let pinned;
  try {
    pinned = join(dirname(nodeModule.createRequire(import.meta.url).resolve(`${platform}/package.json`)), 'bin', 'node');
  } catch {
    console.error(`entrepot needs Node 24.15 or newer; this is ${process.version}, and ${platform} is not installed`);
    process.exit(1);
  }
  // Little room for young objects: uploads make many that die at once, and more room only makes memory grow.
  const child = spawn(pinned, ['--max-semi-space-size=4', ...process.argv.slice(1)], { stdio: 'inherit' });
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.once('error', (error) => {
    console.error(`entrepot: ${pinned} cannot be started: ${error.message}`);
    process.exit(1);
  });
  child.once('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    // Ends as the child did, so that whoever waits for this process sees the same.
    for (const other of signals) process.removeAllListeners(other);
    process.exitCode = 128 + constants.signals[signal];
    process.kill(process.pid, signal);
  });
}
