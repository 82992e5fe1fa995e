import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ADMIN, type TestServer, temporaryFolder } from '../harness/server.ts';
import { exec } from '../harness/tools.ts';

/** One machine with its own credentials, configuration and images: nothing of it is shared with another. */
export interface Workbench {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  skopeo(...words: string[]): Promise<string>;
  buildah(...words: string[]): Promise<string>;
  podman(...words: string[]): Promise<string>;
  /** How skopeo names an image of this machine's buildah and podman. */
  stored(name: string): string;
  /** Logs skopeo, buildah and podman in at once: they share the file of credentials. */
  login(server: TestServer, user?: string, password?: string): Promise<void>;
}

/**
 * Images are kept by the vfs driver: it mounts nothing, so there is nothing to unmount, and it works where overlay file
 * systems cannot be stacked. Registries on loopback are spoken to without TLS. What root cannot have of its own is the
 * memory of where blobs were seen (/var/lib/containers/cache): tests use content nobody pushed before.
 */
export function workbench(): Workbench {
  const folder = temporaryFolder();
  const at = (name: string) => {
    mkdirSync(join(folder, name));
    return join(folder, name);
  };
  const home = at('home');
  const env = {
    HOME: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_DATA_HOME: join(home, '.local/share'),
    XDG_RUNTIME_DIR: at('runtime'),
    REGISTRY_AUTH_FILE: join(folder, 'auth.json'),
    DOCKER_CONFIG: at('docker'),
    TMPDIR: at('tmp'),
    BUILDAH_ISOLATION: 'chroot',
  };
  writeFileSync(env.REGISTRY_AUTH_FILE, '{}'); // a named file that is not there is an error to them
  const [root, run] = [at('storage'), at('run')];
  const storage = ['--root', root, '--runroot', run, '--storage-driver', 'vfs'];
  const podman = [...storage, '--tmpdir', at('libpod'), '--cgroup-manager', 'cgroupfs', '--events-backend', 'file'];
  const skopeo = (...words: string[]) => exec('skopeo', words, env);
  return {
    folder,
    env,
    skopeo,
    buildah: (...words) => exec('buildah', [...storage, ...words], env),
    podman: (...words) => exec('podman', [...podman, ...words], env),
    stored: (name) => `containers-storage:[vfs@${root}+${run}]${name}`,
    login: async ({ address }, user = ADMIN.user, password = ADMIN.password) => {
      await skopeo('login', '--tls-verify=false', '-u', user, '-p', password, address);
    },
  };
}
