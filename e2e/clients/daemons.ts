import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { atEnd } from '../harness/at-end.ts';
import { until } from '../harness/raw.ts';
import { exec } from '../harness/tools.ts';

/** A daemon of this test alone: its folders, socket and mounts are its own. */
export interface Daemon {
  readonly socket: string;
  stop(): Promise<void>;
}

/** It ended by itself, as this system does not let it run. The message is the last it said. */
export class CannotStart extends Error {
  override name = 'CannotStart';
}

/** What daemons say of a kernel or a sandbox that lacks or forbids what they need; all else is a mistake of ours. */
const FORBIDDEN = /not permitted|permission denied|read-only file system|not supported|no such device|cgroup|failed to mount|driver/i;

/** Starts containerd under a folder. Throws CannotStart. */
export function startContainerd(folder: string): Promise<Daemon> {
  const at = folderOf(folder, 'containerd');
  const socket = join(at, 'c.sock');
  const config = join(at, 'config.toml');
  const lines = [
    'version = 2',
    `root = "${join(at, 'root')}"`,
    `state = "${join(at, 'state')}"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    '[grpc]',
    `address = "${socket}"`,
  ];
  writeFileSync(config, lines.join('\n'));
  return start(socket, 'containerd', ['-c', config]);
}

/** Starts dockerd over a containerd of its own, without any network. Throws CannotStart. */
export async function startDockerd(folder: string): Promise<Daemon> {
  const at = folderOf(folder, 'dockerd');
  const containerd = await startContainerd(folder);
  const socket = join(at, 'docker.sock');
  const config = join(at, 'daemon.json');
  writeFileSync(config, '{}'); // instead of the system's
  const folders = ['--data-root', join(at, 'data'), '--exec-root', join(at, 'exec'), '--pidfile', join(at, 'pid')];
  const network = ['--iptables=false', '--ip6tables=false', '--bridge=none'];
  try {
    const listen = ['-H', `unix://${socket}`, '--containerd', containerd.socket];
    const docker = await start(socket, 'dockerd', [...listen, ...folders, ...network, '--config-file', config]);
    return { socket, stop: () => docker.stop().finally(containerd.stop) };
  } catch (error) {
    await containerd.stop();
    throw error;
  }
}

function folderOf(parent: string, name: string): string {
  const folder = join(parent, name);
  mkdirSync(folder);
  return folder;
}

/** In a mount namespace of its own: what it mounts is gone with it, however it ends. */
async function start(socket: string, program: string, words: readonly string[]): Promise<Daemon> {
  const child = spawn('unshare', ['--mount', '--propagation', 'private', program, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (ended()) return;
    const exit = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await exit;
  };
  atEnd(() => stop('SIGKILL'));
  try {
    await until(`${program} answers`, async () => ended() || (await answers(socket)));
  } catch (error) {
    await stop();
    throw new Error(`${program} does not become ready:\n${printed}`, { cause: error });
  }
  if (ended()) {
    const last = printed.trim().split('\n').at(-1) ?? '';
    throw FORBIDDEN.test(last) ? new CannotStart(last) : new Error(`${program} ended:\n${printed}`);
  }
  return { socket, stop };
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}

/** A `ctr` that speaks to one containerd. Snapshots are plain folders, as overlay file systems cannot be stacked everywhere. */
export function ctrOf({ socket }: Daemon): (...words: string[]) => Promise<string> {
  return (...words) => exec('ctr', ['-a', socket, ...words], { CONTAINERD_SNAPSHOTTER: 'native' });
}
