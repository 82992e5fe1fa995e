import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { atEnd } from '../harness/at-end.ts';

/** A host of its own on one machine: a network namespace with an address on a bridge that only the hosts of one test share. */
export interface Host {
  readonly name: string;
  readonly address: string;
  /** What a command line begins with that runs there. */
  readonly wrapper: readonly string[];
  /** Starts a program there; it is killed with the host. */
  start(program: string, args: readonly string[], env?: Readonly<Record<string, string>>): ChildProcess;
  /** Runs a program there to its end and gives its output; throws where it fails. */
  run(program: string, ...args: string[]): string;
  /** All that its programs printed so far. */
  output(): string;
  /** What its own network card holds besides its own address. */
  holds(address: string): boolean;
  /** The host is gone: its programs are killed and its cable is cut. */
  die(): void;
}

const ip = (...words: string[]) => execFileSync('ip', words, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });

/** Hosts on a network of their own, `10.213.77.0/24`, which leads nowhere else. Needs root. */
export function createHosts(names: readonly string[]): Record<string, Host> {
  const mark = `e${process.pid.toString(36)}`;
  const spine = `${mark}-net`;
  const made: string[] = [];
  const children = new Map<string, Set<ChildProcess>>();
  atEnd(() => {
    for (const set of children.values()) for (const child of set) child.kill('SIGKILL');
    for (const space of made) ip('netns', 'del', space);
  });
  // The bridge stands in a namespace too, so that nothing of the test is on the machine's own network.
  ip('netns', 'add', spine);
  made.push(spine);
  ip('-n', spine, 'link', 'add', 'bridge', 'type', 'bridge');
  ip('-n', spine, 'link', 'set', 'bridge', 'up');
  return Object.fromEntries(
    names.map((name, index) => {
      const space = `${mark}-${name}`;
      const address = `10.213.77.${index + 11}`;
      ip('netns', 'add', space);
      made.push(space);
      ip('-n', space, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', name, 'netns', spine);
      ip('-n', spine, 'link', 'set', name, 'master', 'bridge');
      ip('-n', spine, 'link', 'set', name, 'up');
      ip('-n', space, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
      for (const link of ['lo', 'eth0']) ip('-n', space, 'link', 'set', link, 'up');
      const own = new Set<ChildProcess>();
      let printed = '';
      children.set(name, own);
      const host: Host = {
        name,
        address,
        wrapper: ['ip', 'netns', 'exec', space],
        start(program, args, env = {}) {
          // exec: a signal reaches the program itself.
          const child = spawn('ip', ['netns', 'exec', space, program, ...args], {
            env: { ...process.env, ...env },
            stdio: ['ignore', 'pipe', 'pipe'],
          });
          own.add(child);
          for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (printed += text.toString()));
          return child;
        },
        run: (program, ...args) =>
          execFileSync('ip', ['netns', 'exec', space, program, ...args], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' }),
        output: () => printed,
        holds: (wanted) => ip('-n', space, '-o', 'addr', 'show', 'dev', 'eth0').includes(` ${wanted}/`),
        die() {
          ip('-n', space, 'link', 'set', 'eth0', 'down');
          for (const child of own) child.kill('SIGKILL');
          own.clear();
        },
      };
      return [name, host];
    }),
  );
}
