import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codeAt } from '../../packages/server/src/access/local/testing.ts';
import { type Asked, type Faults, SoftAuthenticator } from '../harness/authenticator.ts';
import { basic, Client, errorOf } from '../harness/client.ts';
import { Browser } from '../harness/console.ts';
import { type People, populate } from '../harness/people.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
let people: People;

beforeAll(async () => {
  server = await startServer({ options: { 'trusted-proxies': '127.0.0.1' } });
  people = await populate(server, { users: ['ann', 'ben', 'cat', 'dan', 'eve', 'fay', 'gil'], projects: {} });
});
afterAll(async () => expect(await server.stop()).toBe(0));

async function loggedIn(name: string, password = people.password(name)): Promise<Browser> {
  const browser = new Browser(server.url);
  expect([name, await browser.login(name, password)]).toEqual([name, 200]);
  return browser;
}

interface Enrolled {
  readonly browser: Browser;
  readonly secret: string;
  readonly recoveryCodes: readonly string[];
  /** The code of so many steps from now. */
  code(steps: number): string;
}

function coder(secret: string): (steps: number) => string {
  return (steps) => codeAt(secret, Date.now() + steps * 30_000);
}

/** Turns codes on; the code of now is used up by that, and the one before may be too old, so those after it count. */
async function enrol(name: string): Promise<Enrolled> {
  const browser = await loggedIn(name);
  const { secret } = (await browser.must([200], 'POST', '/account/totp', { password: people.password(name) })).json<{ secret: string }>();
  const code = coder(secret);
  const done = await browser.must([200], 'POST', '/account/totp/confirm', { code: code(0) });
  return { browser, secret, code, ...done.json<{ recoveryCodes: string[] }>() };
}

/** All bytes of the database. */
function stored(): string {
  return ['entrepot.db', 'entrepot.db-wal'].map((file) => readFileSync(join(server.dataDir, file)).toString('latin1')).join('');
}

describe('codes by time', () => {
  test('count once the first one is right, and not before', async () => {
    const browser = await loggedIn('ann');
    await browser.must([403], 'POST', '/account/totp', { password: 'not the password' });
    const begun = (await browser.must([200], 'POST', '/account/totp', { password: people.password('ann') })).json<{
      secret: string;
      uri: string;
    }>();
    expect(begun.secret).toMatch(/^[A-Z2-7]{32}$/);
    expect(begun.uri).toMatch(/^otpauth:\/\/totp\/.*secret=[A-Z2-7]{32}/);
    await loggedIn('ann'); // nothing has changed yet
    await browser.must([403], 'POST', '/account/totp/confirm', { code: '000000' });
    expect((await browser.must([200], 'GET', '/account/second-factor')).json()).toEqual({ totp: false, recoveryCodes: 0, passkeys: 0 });
    const other = await loggedIn('ann');
    const code = coder(begun.secret);
    const { recoveryCodes } = (await browser.must([200], 'POST', '/account/totp/confirm', { code: code(0) })).json<{
      recoveryCodes: string[];
    }>();
    expect(new Set(recoveryCodes).size).toBe(10);
    expect([await browser.isIn(), await other.isIn()]).toEqual([true, false]); // the other proved less
    expect((await browser.must([200], 'GET', '/account/second-factor')).json()).toEqual({ totp: true, recoveryCodes: 10, passkeys: 0 });
    await browser.must([409], 'POST', '/account/totp', { password: people.password('ann') });
    await browser.must([409], 'POST', '/account/totp/confirm', { code: code(1) });

    const password = people.password('ann');
    const without = await new Browser(server.url).request('POST', '/login', { name: 'ann', password });
    expect([without.status, without.json<{ code: string }>().code, without.headers.getSetCookie()]).toEqual([
      401,
      'second_factor_required',
      [],
    ]);
    expect(await new Browser(server.url).login('ann', 'not the password', { code: code(1) })).toBe(401);
    expect(await new Browser(server.url).login('ann', password, { code: code(0) })).toBe(401); // was used to turn it on
    expect(await new Browser(server.url).login('ann', password, { code: code(1) })).toBe(200);
    expect(await new Browser(server.url).login('ann', password, { code: code(1) })).toBe(401);
    const [first = ''] = recoveryCodes;
    expect(await new Browser(server.url).login('ann', password, { code: first.toUpperCase().replaceAll('-', ' ') })).toBe(200);
    expect(await new Browser(server.url).login('ann', password, { code: first })).toBe(401);
    expect((await browser.must([200], 'GET', '/account/second-factor')).json()).toMatchObject({ recoveryCodes: 9 });
    const text = stored();
    for (const secret of [begun.secret, first, first.replaceAll('-', ''), ...recoveryCodes]) expect(text.includes(secret)).toBe(false);
    for (const secret of [begun.secret, first, code(1)]) expect(server.output()).not.toContain(secret);
  });

  test('end what was issued for the password alone, and leave access keys to docker', async () => {
    const client = new Client(server.url, basic('ben', people.password('ben')));
    const form = (fields: Record<string, string>) =>
      Client.anonymous(server.url).request('POST', '/token', {
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: String(new URLSearchParams(fields)),
      });
    const { refresh_token: refresh = '' } = (await client.request('GET', '/token?offline_token=true')).json<{ refresh_token?: string }>();
    const { browser } = await enrol('ben');
    expect((await form({ grant_type: 'refresh_token', refresh_token: refresh })).status).toBe(401);
    for (const path of ['/v2/', '/token', '/api/v1/session']) {
      const answer = await client.request('GET', path);
      expect([path, answer.status]).toEqual([path, 401]);
      expect(answer.bytes.toString()).toContain('access key');
    }
    expect(errorOf(await client.request('GET', '/v2/')).code).toBe('UNAUTHORIZED');
    expect((await form({ grant_type: 'password', username: 'ben', password: people.password('ben') })).status).toBe(401);
    const made = await browser.must([201], 'POST', '/access-keys', { name: 'docker', expiresAt: null });
    const { secret } = made.json<{ secret: string }>();
    expect((await new Client(server.url, basic('ben', secret)).request('GET', '/v2/')).status).toBe(200);
    // A key must not change how its owner logs in.
    const byKey = new Client(server.url, basic('ben', secret));
    for (const path of ['/account/second-factor', '/sessions', '/account/passkeys']) {
      expect([path, (await byKey.request('GET', `/api/v1${path}`)).status]).toEqual([path, 403]);
    }
  });

  test('are turned off, and recovery codes made anew, by password and code together', async () => {
    const { browser, code, recoveryCodes } = await enrol('cat');
    const password = people.password('cat');
    const [first = '', second = '', third = ''] = recoveryCodes;
    await browser.must([403], 'POST', '/account/recovery-codes', { password, code: '000000' });
    await browser.must([403], 'POST', '/account/recovery-codes', { password: 'not it', code: first });
    const fresh = (await browser.must([200], 'POST', '/account/recovery-codes', { password, code: first })).json<{
      recoveryCodes: string[];
    }>();
    for (const old of [first, second, third]) expect(await new Browser(server.url).login('cat', password, { code: old })).toBe(401);
    const [fourth = ''] = fresh.recoveryCodes;
    await browser.must([403], 'POST', '/account/totp/disable', { password: 'not it', code: fourth });
    await browser.must([204], 'POST', '/account/totp/disable', { password, code: fourth });
    expect(await browser.isIn()).toBe(true);
    await loggedIn('cat');
    await browser.must([409], 'POST', '/account/totp/disable', { password, code: code(1) });
  });

  test('A7 are not guessed: not many at once either, and the wait is for who knows the password', async () => {
    const { code } = await enrol('dan');
    const password = people.password('dan');
    const guess = (n: number) =>
      new Browser(server.url, { 'X-Forwarded-For': `198.51.100.${n}` }).request('POST', '/login', {
        name: 'dan',
        password,
        code: String(900_000 + n),
      });
    const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => guess(n)));
    expect(answers.filter(({ status }) => status === 401).length).toBeLessThanOrEqual(8); // five, and on a slow machine some after their wait
    expect(answers.every(({ status }) => status === 401 || status === 429)).toBe(true);
    // The owner at home still gets in.
    expect(await new Browser(server.url).login('dan', password, { code: code(1) })).toBe(200);
  });

  test('are taken by an administrator from who has lost them', async () => {
    const { browser } = await enrol('eve');
    const root = await loggedIn(ADMIN.user, ADMIN.password);
    await browser.must([403], 'DELETE', '/users/eve/second-factor');
    await root.must([204], 'DELETE', '/users/eve/second-factor');
    expect(await browser.isIn()).toBe(false);
    await loggedIn('eve');
    await root.must([404], 'DELETE', '/users/nobody/second-factor');
  });
});

describe('passkeys', () => {
  const asked = async (browser: Browser, path: string, body?: object): Promise<Asked> =>
    (await browser.must([200], 'POST', path, body)).json<{ publicKey: Asked }>().publicKey;
  const askedToRegister = (browser: Browser, name: string) =>
    asked(browser, '/account/passkeys/options', { password: people.password(name) });

  async function register(browser: Browser, name: string, key: SoftAuthenticator, label: string, faults?: Faults) {
    const response = key.create(await askedToRegister(browser, name), faults);
    return await browser.request('POST', '/account/passkeys', { name: label, response });
  }

  async function login(key: SoftAuthenticator, faults?: Faults): Promise<{ status: number; browser: Browser; sent: object }> {
    const browser = new Browser(server.url);
    const sent = { response: key.get(await asked(browser, '/login/passkey/options'), faults) };
    return { status: (await browser.request('POST', '/login/passkey', sent)).status, browser, sent };
  }

  test('log in with nothing else, are several, have names, and are revoked one by one', async () => {
    const browser = await loggedIn('fay');
    await browser.must([403], 'POST', '/account/passkeys/options', { password: 'not it' });
    const [phone, stick] = [new SoftAuthenticator(server.url), new SoftAuthenticator(server.url)];
    const first = await register(browser, 'fay', phone, 'My phone');
    expect([first.status, first.json()]).toMatchObject([201, { name: 'My phone' }]);
    expect((await register(browser, 'fay', stick, 'A stick')).status).toBe(201);
    expect((await register(browser, 'fay', stick, 'The same stick')).status).toBe(409);
    const { items } = (await browser.must([200], 'GET', '/account/passkeys')).json<{ items: { id: number; name: string }[] }>();
    expect(items.map(({ name }) => name)).toEqual(['My phone', 'A stick']);
    for (const key of [phone, stick]) {
      const { status, browser: other } = await login(key);
      expect(status).toBe(200);
      expect((await other.must([200], 'GET', '/session')).json()).toMatchObject({ name: 'fay' });
    }
    await (await loggedIn('gil')).must([404], 'DELETE', `/account/passkeys/${items[0]?.id}`);
    await browser.must([204], 'DELETE', `/account/passkeys/${items[0]?.id}`);
    expect((await login(phone)).status).toBe(401);
    expect((await login(stick)).status).toBe(200);
    const root = await loggedIn(ADMIN.user, ADMIN.password);
    await root.must([200], 'PATCH', '/users/fay', { disabled: true });
    expect((await login(stick)).status).toBe(401);
    await root.must([200], 'PATCH', '/users/fay', { disabled: false });
    expect((await login(stick)).status).toBe(200);
    await root.must([204], 'DELETE', '/users/fay');
    expect((await login(stick)).status).toBe(401);
  });

  test('A9 prove nothing with any part of the proof wrong, and no proof counts twice', async () => {
    const browser = await loggedIn('gil');
    const key = new SoftAuthenticator(server.url);
    const foreign: Record<string, Faults> = {
      'another origin': { origin: 'https://evil.example' },
      'another site': { rpId: 'evil.example' },
      'another challenge': { challenge: Buffer.alloc(38).toString('base64url') },
      'another type': { type: 'webauthn.other' },
      'nobody there': { flags: 0x00 },
      'nobody verified': { flags: 0x01 },
    };
    for (const [what, faults] of Object.entries(foreign)) {
      expect([what, (await register(browser, 'gil', key, 'x', faults)).status]).toEqual([what, 400]);
    }
    // A challenge given to another user, or for a login.
    const eve = await loggedIn('eve');
    const ofEve = key.create(await askedToRegister(eve, 'eve'));
    await browser.must([400], 'POST', '/account/passkeys', { name: 'x', response: ofEve });
    const ofLogin = key.create({ rp: { id: '127.0.0.1' }, ...(await asked(browser, '/login/passkey/options')) });
    await browser.must([400], 'POST', '/account/passkeys', { name: 'x', response: ofLogin });
    expect((await login(key)).status).toBe(401); // never registered

    expect((await register(browser, 'gil', key, 'key')).status).toBe(201);
    for (const [what, faults] of Object.entries({
      ...foreign,
      'another key': { key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey },
    })) {
      expect([what, (await login(key, faults)).status]).toEqual([what, 401]);
    }
    const { status, sent } = await login(key);
    expect(status).toBe(200);
    const again = new Browser(server.url);
    expect((await again.request('POST', '/login/passkey', sent)).status).toBe(401);
    expect((await login(key, { counter: 1 })).status).toBe(401); // a copy of the key, as the count says
    const registering = key.get({ ...(await askedToRegister(browser, 'gil')), rpId: '127.0.0.1' });
    expect((await again.request('POST', '/login/passkey', { response: registering })).status).toBe(401);
    expect(again.cookie).toBe('');
    expect((await login(key)).status).toBe(200);
  });

  test('used at the same time with one proof, one login comes of it', async () => {
    const browser = await loggedIn('eve');
    const key = new SoftAuthenticator(server.url);
    expect((await register(browser, 'eve', key, 'key')).status).toBe(201);
    const sent = { response: key.get(await asked(browser, '/login/passkey/options')) };
    const answers = await Promise.all(Array.from({ length: 8 }, () => new Browser(server.url).request('POST', '/login/passkey', sent)));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, ...Array(7).fill(401)]);
  });
});
