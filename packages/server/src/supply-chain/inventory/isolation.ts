import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Programs of util-linux by which the kernel takes from a process what it has no need of, each where it is there and may be used. */
const UNSHARE = ['unshare', '--user', '--map-current-user', '--net', '--ipc', '--uts'] as const;
const PRLIMIT = ['prlimit', '--core=0', '--nofile=256'] as const;

let usable: readonly (readonly string[])[] | undefined;

/**
 * What the command line of a process begins with that reads hostile content: no network, and an end after so many seconds of the
 * processor, also where whoever started it is no more.
 */
export function isolation(seconds: number): readonly string[] {
  usable ??= [UNSHARE, PRLIMIT].flatMap(([name, ...options]) => {
    const path = [`/usr/bin/${name}`, `/bin/${name}`].find((each) => process.platform === 'linux' && existsSync(each));
    if (path === undefined) return [];
    const works = spawnSync(path, [...options, '/bin/true'], { env: {}, stdio: 'ignore', timeout: 5000 }).status === 0;
    return works ? [[path, ...options]] : [];
  });
  const cpu = Math.ceil(seconds);
  return usable.flatMap((words) => (words[0]?.endsWith('prlimit') ? [...words, `--cpu=${cpu}:${cpu + 5}`] : words));
}
