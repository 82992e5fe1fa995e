import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { basic, Client, must, sha256 } from './harness/client.ts';
import { until } from './harness/raw.ts';
import { ADMIN, environment, startServer, type TestServer, temporaryFolder } from './harness/server.ts';

const ENTREPOT = fileURLToPath(new URL('../packages/cli/bin/entrepot.js', import.meta.url));

interface Run {
  readonly process: ChildProcess;
  readonly ended: Promise<{ code: number | null; out: string; err: string }>;
  /** Resolves with what a server printed once it is ready. */
  readonly ready: Promise<{ url: string; printed: string }>;
}

const running: Run[] = [];
afterEach(async () => {
  for (const run of running.splice(0)) {
    run.process.kill('SIGTERM');
    await run.ended;
  }
});

function start(words: readonly string[], env: Readonly<Record<string, string>> = {}): Run {
  const child = spawn(process.execPath, [ENTREPOT, ...words], { env: { ...environment(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    child.once('close', (code) => resolve({ code, out, err }));
  });
  const ready = new Promise<{ url: string; printed: string }>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      const url = /ready at (http:\/\/\S+)/.exec(out)?.[1];
      if (url) resolve({ url, printed: out });
    });
    void ended.then(() => reject(new Error(`ended before it was ready: ${out}${err}`)));
  });
  ready.catch(() => undefined);
  const run = { process: child, ended, ready };
  running.push(run);
  return run;
}

const entrepot = (words: readonly string[], env: Readonly<Record<string, string>> = {}) => start(words, env).ended;
const serve = (data: string, ...more: string[]) => ['serve', '--listen', '127.0.0.1:0', '--data', data, ...more];

/** A command that must fail with one line that says why. */
async function refusal(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const { code, out, err } = await entrepot(words, env);
  expect({ code, out }).toEqual({ code: 1, out: '' });
  expect(err).toMatch(/^entrepot: [^\n]+\n$/);
  return err;
}

async function stop(run: Run): Promise<void> {
  run.process.kill('SIGTERM');
  expect((await run.ended).code).toBe(0);
}

const canLogIn = async (url: string, user: string, password: string) =>
  (await new Client(url, basic(user, password)).request('GET', '/v2/')).status === 200;

describe('entrepot config', () => {
  it('check says that all is well, or all that is not', async () => {
    expect(await entrepot(['config', 'check'])).toEqual({ code: 0, out: 'the configuration is valid\n', err: '' });
    const file = join(temporaryFolder(), 'entrepot.yaml');
    writeFileSync(file, 'workers: none\nlisten: nowhere\nunknown: 1\n');
    const { code, out, err } = await entrepot(['config', 'check', '--config', file, '--drain-seconds', '-1'], {
      ENTREPOT_LOG_LEVEL: 'loud',
    });
    expect({ code, out }).toEqual({ code: 1, out: '' });
    const [first, ...rest] = err.trimEnd().split('\n');
    expect(first).toBe('entrepot: the configuration has 5 mistakes:');
    const wanted = [
      /workers is "none"; allowed: .*1 to 99/,
      /listen is "nowhere"/,
      /unknown is not an option/,
      /LOG_LEVEL: logLevel is "loud"/,
      /drainSeconds is -1/,
    ];
    expect(rest).toHaveLength(wanted.length);
    wanted.forEach((pattern, index) => void expect(rest[index]).toMatch(pattern));
    expect(rest[0]).toContain(file);
  });

  it('print shows what is in force, as a file that can be used', async () => {
    const file = join(temporaryFolder(), 'entrepot.yaml');
    writeFileSync(file, 'workers: 2\ndrainSeconds: 5\nlogLevel: warn\n');
    const { code, out, err } = await entrepot(['config', 'print', '--log-level', 'debug'], {
      ENTREPOT_CONFIG: file,
      ENTREPOT_DRAIN_SECONDS: '7',
    });
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(parse(out)).toMatchObject({ workers: '2', drainSeconds: 7, logLevel: 'debug', listen: '127.0.0.1:5000' });
    writeFileSync(file, out);
    expect((await entrepot(['config', 'print', '--config', file])).out).toBe(out);
  });

  it('shows no secret', async () => {
    const env = {
      ENTREPOT_ADMIN_PASSWORD: 'hidden-admin-password',
      ENTREPOT_OUTBOUND_PROXY: 'http://user:hidden-proxy-password@proxy:3128',
    };
    const { out } = await entrepot(['config', 'print'], env);
    expect(out).toContain('user:***@proxy:3128');
    expect(out).not.toContain('hidden');
    const { err } = await entrepot(['config', 'check'], { ENTREPOT_OUTBOUND_PROXY: 'http://user:hidden-proxy-password@proxy:3128/path' });
    expect(err).toContain('outboundProxy is ');
    expect(err).not.toContain('hidden');
  });

  it('and others answer a command line that makes no sense by an error and how they are used', async () => {
    const senseless = [
      ['config', 'check', '--no-such-option', '1'],
      ['serve', '--workers'],
      ['config', 'nothing'],
      ['nothing'],
      ['admin', 'user', 'create'],
    ];
    for (const { code, out, err } of await Promise.all(senseless.map((words) => entrepot(words)))) {
      expect({ code, out }).toEqual({ code: 1, out: '' });
      expect(err).toMatch(/^error: [^\n]+\n\nUsage: entrepot /);
    }
  });
});

describe('the first start', () => {
  it('makes an admin with a random password and says so once, with what to do next', async () => {
    const data = join(temporaryFolder(), 'data');
    const first = start(serve(data));
    const { url, printed } = await first.ready;
    const password = /password {2}(\S+)/.exec(printed)?.[1] ?? '';
    expect(password).toMatch(/^[a-z0-9]{26}$/);
    const address = url.slice('http://'.length);
    for (const line of [`skopeo login --tls-verify=false -u admin ${address}`, `docker://${address}/demo/image:1`])
      expect(printed).toContain(line);
    expect(printed.match(/^ {2}skopeo /gm)).toHaveLength(3);
    expect(await canLogIn(url, 'admin', password)).toBe(true);
    expect(await canLogIn(url, 'admin', `${password}x`)).toBe(false);
    await stop(first);

    const second = start(serve(data));
    const again = await second.ready;
    expect(again.printed.trimEnd().split('\n')).toHaveLength(1);
    expect(await canLogIn(again.url, 'admin', password)).toBe(true);
    await stop(second);
  });

  it('takes a given password, does not show it, and ignores it ever after', async () => {
    const data = join(temporaryFolder(), 'data');
    const first = start(serve(data), { ENTREPOT_ADMIN_PASSWORD: 'given at the first start' });
    const { url, printed } = await first.ready;
    expect(printed).toContain('as given in ENTREPOT_ADMIN_PASSWORD');
    expect(printed).not.toContain('given at');
    expect(await canLogIn(url, 'admin', 'given at the first start')).toBe(true);
    expect(readFileSync(`/proc/${first.process.pid}/cmdline`, 'utf8')).not.toContain('given at');
    await stop(first);
    const second = start(serve(data), { ENTREPOT_ADMIN_PASSWORD: 'given at the second start' });
    const again = await second.ready;
    expect(await canLogIn(again.url, 'admin', 'given at the second start')).toBe(false);
    expect(await canLogIn(again.url, 'admin', 'given at the first start')).toBe(true);
  });

  it('refuses a password of the wrong length, and can be tried again', async () => {
    const data = join(temporaryFolder(), 'data');
    for (const password of ['too short', 'x'.repeat(257)]) {
      const said = await refusal(serve(data), { ENTREPOT_ADMIN_PASSWORD: password });
      expect(said).toContain('ENTREPOT_ADMIN_PASSWORD must have 12 to 256 characters');
    }
    const { printed } = await start(serve(data)).ready;
    expect(printed).toContain('skopeo login');
  });

  it('leaves what it writes to its owner alone', async () => {
    const folder = temporaryFolder();
    const made = join(folder, 'made');
    const given = join(folder, 'given');
    mkdirSync(given, { mode: 0o755 });
    const runs = [made, given].map((data) => start(serve(data)));
    for (const run of runs) await new Client((await run.ready).url, undefined).request('GET', '/v2/');
    expect(statSync(made).mode & 0o777).toBe(0o700);
    for (const data of [made, given]) {
      for (const path of ['keys', 'keys/master.key', 'entrepot.db', 'entrepot.db-wal', 'entrepot.db-shm', 'storage']) {
        expect(statSync(join(data, path)).mode & 0o077, path).toBe(0);
      }
    }
  });
});

describe('a start that cannot be', () => {
  it.each([[[]], [['--workers', '2']]])('on a port that is taken says so in one line and ends %j', async (more) => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const listen = `127.0.0.1:${port}`;
    const data = join(temporaryFolder(), 'data');
    const { code, out, err } = await entrepot(['serve', '--listen', listen, '--data', data, ...more]);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^entrepot: [^\n]+\n$/);
    expect(err).toContain(listen);
    expect(err).toContain('in use');
    await new Promise((resolve) => other.close(resolve));
  });

  it.each(['a file in its place', 'a file above it'])(
    'in a data directory that cannot be made (%s) says so in one line and ends',
    async (where) => {
      const file = join(temporaryFolder(), 'file');
      writeFileSync(file, 'not a folder');
      const data = where === 'a file in its place' ? file : join(file, 'data');
      expect(await refusal(serve(data))).toContain(file);
      expect(readFileSync(file, 'utf8')).toBe('not a folder');
    },
  );

  it('with a key that others may read says what to do', async () => {
    const data = join(temporaryFolder(), 'data');
    mkdirSync(join(data, 'keys'), { recursive: true });
    writeFileSync(join(data, 'keys/master.key'), Buffer.alloc(32), { mode: 0o644 });
    expect(await refusal(serve(data))).toContain('chmod 600');
  });
});

describe('a second server on the same data directory', () => {
  it('is refused while the first one lives, and disturbs nothing', async () => {
    const data = join(temporaryFolder(), 'data');
    const first = start(serve(data), { ENTREPOT_ADMIN_PASSWORD: ADMIN.password });
    const client = new Client((await first.ready).url);
    // An upload is on its way and holds the right to write.
    const location = (await must(client, [202], 'POST', '/v2/demo/app/blobs/uploads/')).headers.get('location') ?? '';
    let send = (_: string) => {};
    let end = () => {};
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        send = (text) => controller.enqueue(Buffer.from(text));
        end = () => controller.close();
      },
    });
    const patch = client.request('PATCH', location, { body });
    patch.catch(() => undefined);
    send('first half, ');
    const database = new DatabaseSync(join(data, 'entrepot.db'), { readOnly: true });
    const lease = () => database.prepare('SELECT lease FROM upload_session').get()?.lease;
    await until('the upload is held', () => typeof lease() === 'string');
    const held = lease();
    for (const more of [[], ['--workers', '2']]) expect(await refusal(serve(data, ...more))).toContain(`another server uses ${data}`);
    expect(lease()).toBe(held);
    database.close();
    send('second half');
    end();
    expect((await patch).status).toBe(202);
    const digest = sha256('first half, second half');
    await must(client, [201], 'PUT', `${location}?digest=${digest}`);

    first.process.kill('SIGKILL');
    await first.ended;
    const { url: after } = await start(serve(data)).ready;
    expect((await new Client(after).request('GET', `/v2/demo/app/blobs/${digest}`)).bytes.toString()).toBe('first half, second half');
  });
});

describe('entrepot admin, beside a running server', () => {
  let server: TestServer;
  let admin: Client;
  let anonymous: Client;
  beforeAll(async () => {
    server = await startServer();
    admin = new Client(server.url);
    anonymous = Client.anonymous(server.url);
    await admin.pushImage('demo/app', '1');
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const run = (...words: string[]) => entrepot(['admin', ...words, '--data', server.dataDir]);
  const fails = (...words: string[]) => refusal(['admin', ...words, '--data', server.dataDir]);
  async function succeeds(...words: string[]): Promise<string> {
    const { code, out, err } = await run(...words);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    return out.trimEnd();
  }
  const pull = async (client: Client) => (await client.request('GET', '/v2/demo/app/manifests/1')).status;

  it('password reset voids at once all that was issued before', async () => {
    const user = 'resetter';
    const before = await succeeds('user', 'create', user);
    await succeeds('project', 'member', 'demo', user, 'guest');
    const client = new Client(server.url, basic(user, before));
    expect(await pull(client)).toBe(200);
    const scope = 'scope=repository:demo/app:pull';
    const issued = (await client.request('GET', `/token?service=entrepot&offline_token=true&${scope}`)).json<{
      token: string;
      refresh_token: string;
    }>();
    const bearer = new Client(server.url, `Bearer ${issued.token}`);
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
    const refresh = async () =>
      (
        await anonymous.request('POST', '/token', {
          headers: form,
          body: `grant_type=refresh_token&refresh_token=${issued.refresh_token}&${scope}`,
        })
      ).status;
    expect([await pull(bearer), await refresh()]).toEqual([200, 200]);

    const after = await succeeds('password', 'reset', user);
    expect(after).toMatch(/^[a-z0-9]{26}$/);
    expect(after).not.toBe(before);
    expect([await pull(client), await pull(bearer), await refresh()]).toEqual([401, 401, 401]);
    expect(await pull(new Client(server.url, basic(user, after)))).toBe(200);
    expect(await fails('password', 'reset', 'nobody')).toContain('there is no user nobody');
  });

  it('password reset without a name is that of the admin', async () => {
    const password = await succeeds('password', 'reset');
    expect(await pull(admin)).toBe(401);
    admin = new Client(server.url, basic('admin', password));
    expect(await pull(admin)).toBe(200);
  });

  it('users are made, disabled and enabled', async () => {
    const password = await succeeds('user', 'create', 'ann');
    const ann = new Client(server.url, basic('ann', password));
    expect(await canLogIn(server.url, 'ann', password)).toBe(true);
    expect(await pull(ann)).toBe(403);
    await Promise.all([
      expect(fails('user', 'create', 'ann')).resolves.toContain('there is a user ann already'),
      expect(fails('user', 'create', 'Ann')).resolves.toContain('a user name has 1 to 63'),
      expect(fails('user', 'disable', 'nobody')).resolves.toContain('there is no user nobody'),
      expect(fails('user', 'enable', 'nobody')).resolves.toContain('there is no user nobody'),
    ]);
    expect(await succeeds('user', 'disable', 'ann')).toBe('');
    expect(await canLogIn(server.url, 'ann', password)).toBe(false);
    expect(await succeeds('user', 'enable', 'ann')).toBe('');
    expect(await canLogIn(server.url, 'ann', password)).toBe(true);
  });

  it('projects are made, opened and closed, and have members', async () => {
    const password = await succeeds('user', 'create', 'bob');
    const bob = new Client(server.url, basic('bob', password));
    const push = async (name: string) => (await bob.request('POST', `/v2/${name}/blobs/uploads/`)).status;
    expect(await succeeds('project', 'create', 'closed')).toBe('');
    expect(await succeeds('project', 'create', 'open', '--public')).toBe('');
    const refused: [string, ...string[]][] = [
      ['there is a project open already', 'create', 'open'],
      ['a project name is one component', 'create', 'two/parts'],
      ['a project name is one component', 'create', 'UPPER'],
      ['a role is one of limited-guest, guest, developer, maintainer, admin', 'member', 'closed', 'bob', 'owner'],
      ['no such project or no such user', 'member', 'none', 'bob', 'guest'],
      ['no such project or no such user', 'member', 'closed', 'nobody', 'guest'],
      ['visibility is public or private', 'visibility', 'closed', 'secret'],
      ['there is no project none', 'visibility', 'none', 'public'],
    ];
    await Promise.all(refused.map(([why, ...words]) => expect(fails('project', ...words)).resolves.toContain(why)));

    expect(await push('closed/app')).toBe(403);
    expect(await succeeds('project', 'member', 'closed', 'bob', 'developer')).toBe('');
    expect(await push('closed/app')).toBe(202);
    expect(await succeeds('project', 'member', 'closed', 'bob', 'guest')).toBe('');
    expect(await push('closed/app')).toBe(403);

    expect(await pull(anonymous)).toBe(401);
    expect(await succeeds('project', 'visibility', 'demo', 'public')).toBe('');
    expect(await pull(anonymous)).toBe(200);
    expect(await succeeds('project', 'visibility', 'demo', 'private')).toBe('');
    expect(await pull(anonymous)).toBe(401);
  });

  it('finds no registry where there is none, and makes none', async () => {
    const data = join(temporaryFolder(), 'typo');
    const commands = [
      ['password', 'reset'],
      ['user', 'create', 'ann'],
      ['project', 'create', 'demo'],
    ];
    const said = await Promise.all(commands.map((words) => refusal(['admin', ...words, '--data', data])));
    for (const line of said) expect(line).toContain(`there is no registry in ${data}`);
    expect(existsSync(data)).toBe(false);
    const empty = temporaryFolder();
    expect(await refusal(['admin', 'password', 'reset', '--data', empty])).toContain('there is no registry');
    expect(readdirSync(empty)).toEqual([]);
  });
});
