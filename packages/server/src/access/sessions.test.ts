import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { catalogMigrations } from '../catalog/index.ts';
import { roomData } from '../platform/database/testing.ts';
import type { Database } from '../platform/index.ts';
import { accessMigrations } from './schema.ts';
import { createSessions, endSession, endSessions, type Sessions, sessionMigrations } from './sessions.ts';
import { createUser, findUser, setDisabled, setPassword } from './users.ts';

const MINUTE = 60_000;
const START = Date.parse('2026-01-01T00:00:00Z');
const ORIGIN = { client: '192.0.2.1', userAgent: 'a browser', requestId: 'r1' };
const store = roomData([...catalogMigrations, ...accessMigrations, ...sessionMigrations]);
let database: Database;
let sessions: Sessions;
let now = START;
let users = 0;

beforeAll(async () => {
  database = await store.open();
});
beforeEach(() => {
  now = START;
  sessions = createSessions({ database, now: () => now, idleMinutes: 30, maxHours: 8 });
});
afterAll(() => store.remove());

async function newUser() {
  const name = `user-${++users}`;
  await database.write((tx) => createUser(tx, { name, hash: 'x', admin: false, now }));
  const user = await findUser(database, name);
  if (!user) throw new Error('no user');
  return user;
}

const login = (user: { id: number; generation: number }, provider = 'local') =>
  database.write((tx) => sessions.create(tx, { user, provider, origin: ORIGIN, now }));
const identify = async (cookie: string) => await sessions.authenticate({ scheme: 'cookie', cookie }, ORIGIN);
const works = async (value: string) => (await identify(`entrepot_session=${value}`)) !== undefined;

describe('a session', () => {
  it('says who its cookie stands for, among other cookies', async () => {
    const user = await newUser();
    const { id, cookie } = await login(user);
    for (const header of [`entrepot_session=${cookie}`, `theme=dark; entrepot_session=${cookie}; x=1`, `a=1;entrepot_session=${cookie}`]) {
      expect(await identify(header)).toMatchObject({
        subject: { kind: 'user', id: user.id, name: user.name },
        actor: { credential: { kind: 'session', id: String(id) } },
        token: undefined,
        limits: undefined,
      });
    }
  });

  it('is nobody for any other value, for two of them, and for other proofs', async () => {
    const { cookie } = await login(await newUser());
    const other = (await login(await newUser())).cookie;
    const changed = (cookie.startsWith('A') ? 'B' : 'A') + cookie.slice(1);
    for (const header of [
      '',
      'entrepot_session',
      'entrepot_session=',
      `entrepot_session=${changed}`,
      `entrepot_session="${cookie}"`,
      `Entrepot_Session=${cookie}`,
      `xentrepot_session=${cookie}`,
      `entrepot_session=${cookie}=`,
      `entrepot_session=${other}; entrepot_session=${cookie}`,
      `entrepot_session=${'A'.repeat(100_000)}`,
    ]) {
      expect(await identify(header), header.slice(0, 100)).toBeUndefined();
    }
    expect(await sessions.authenticate({ scheme: 'bearer', token: cookie }, ORIGIN)).toBeUndefined();
  });

  it('lies in the database only as a hash', async () => {
    const { cookie } = await login(await newUser());
    const rows = await sessions.list(database, (await identify(`entrepot_session=${cookie}`))?.subject?.id ?? 0, now);
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain(cookie);
  });

  it('ends some time after the last request, and in any case some time after login', async () => {
    const user = await newUser();
    const { cookie } = await login(user);
    const lastSeen = async () => (await sessions.list(database, user.id, now))[0]?.lastSeenAt;
    for (let used = START + 29 * MINUTE; used < START + 8 * 60 * MINUTE; used += 29 * MINUTE) {
      now = used;
      expect(await works(cookie)).toBe(true);
      await expect.poll(lastSeen).toBe(used);
    }
    now = START + 8 * 60 * MINUTE;
    expect(await works(cookie)).toBe(false);
    expect(await sessions.list(database, user.id, now)).toEqual([]);

    const idle = (await login(user)).cookie;
    now += 30 * MINUTE - 1;
    expect(await sessions.list(database, user.id, now)).toHaveLength(1);
    now += 1;
    expect(await works(idle)).toBe(false);
    expect(await sessions.list(database, user.id, now)).toEqual([]);
  });

  it('is noted as seen once a minute at most', async () => {
    const user = await newUser();
    const { cookie } = await login(user);
    let writes = 0;
    const counting: Database = {
      ...database,
      first: (query, params) => database.first(query, params),
      write: (work, options) => {
        writes++;
        return database.write(work, options);
      },
    };
    const counted = createSessions({ database: counting, now: () => now, idleMinutes: 30, maxHours: 8 });
    const ask = async () => await counted.authenticate({ scheme: 'cookie', cookie: `entrepot_session=${cookie}` }, ORIGIN);
    const lastSeen = async () => (await sessions.list(database, user.id, now))[0]?.lastSeenAt;
    now = START + MINUTE - 1;
    await ask();
    expect(writes).toBe(0);
    now = START + MINUTE;
    await Promise.all([ask(), ask(), ask()]);
    expect(writes).toBe(1);
    await expect.poll(lastSeen).toBe(now);
    await ask();
    expect(writes).toBe(1);
  });

  it.each<[string, (name: string) => Promise<boolean>]>([
    ['the password changes', (name) => database.write((tx) => setPassword(tx, name, 'y'))],
    ['the user is disabled', (name) => database.write((tx) => setDisabled(tx, name, true))],
  ])('ends at once when %s', async (_, change) => {
    const user = await newUser();
    const { cookie } = await login(user);
    const other = (await login(await newUser())).cookie;
    expect(await works(cookie)).toBe(true);
    expect(await change(user.name)).toBe(true);
    expect(await works(cookie)).toBe(false);
    expect(await sessions.list(database, user.id, now)).toEqual([]);
    await database.write((tx) => setDisabled(tx, user.name, false));
    expect(await works(cookie)).toBe(false);
    expect(await works(other)).toBe(true);
    expect(await works((await login(user)).cookie)).toBe(false); // of a proof from before the change
  });

  it('is ended by its owner, one or all, and by nobody under another name', async () => {
    const [ann, bob] = [await newUser(), await newUser()];
    const [first, second, third] = [await login(ann), await login(ann, 'corp'), await login(ann)];
    const foreign = await login(bob);
    expect((await sessions.list(database, ann.id, now)).map(({ id, provider }) => [id, provider])).toEqual([
      [third.id, 'local'],
      [second.id, 'corp'],
      [first.id, 'local'],
    ]);
    expect(await database.write((tx) => endSession(tx, bob.id, first.id))).toBe(false);
    expect(await works(first.cookie)).toBe(true);
    expect(await database.write((tx) => endSession(tx, ann.id, first.id))).toBe(true);
    expect(await works(first.cookie)).toBe(false);
    expect(await works(second.cookie)).toBe(true);
    expect(await database.write((tx) => endSessions(tx, ann.id))).toBe(2);
    expect(await works(second.cookie)).toBe(false);
    expect(await works(foreign.cookie)).toBe(true);
  });

  it('is one of fifty at most; the oldest ends', async () => {
    const user = await newUser();
    const foreign = await login(await newUser());
    const cookies: string[] = [];
    for (let n = 0; n < 51; n++) cookies.push((await login(user)).cookie);
    expect(await works(cookies[0] ?? '')).toBe(false);
    expect(await works(cookies[1] ?? '')).toBe(true);
    expect(await sessions.list(database, user.id, now)).toHaveLength(50);
    expect(await works(foreign.cookie)).toBe(true);
  });

  it('has a cookie that scripts cannot read, other sites cannot use for changes, and that is sent over TLS only where there is TLS', () => {
    expect(sessions.setCookie('v', 'https://registry.example')).toBe('entrepot_session=v; Path=/; HttpOnly; SameSite=Lax; Secure');
    expect(sessions.setCookie('v', 'http://127.0.0.1:5000')).toBe('entrepot_session=v; Path=/; HttpOnly; SameSite=Lax');
    expect(sessions.clearCookie('https://registry.example')).toBe('entrepot_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0; Secure');
  });
});
