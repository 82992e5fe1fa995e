import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import {
  type Config,
  ConfigError,
  ConfigSchema,
  databaseAddress,
  dataPaths,
  flagOf,
  isOnPostgres,
  loadConfig,
  shownConfig,
  variableOf,
  workerCount,
} from './config.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-config-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function fileOf(text: string): string {
  const path = join(folder, `${++files}.yaml`);
  writeFileSync(path, text);
  return path;
}

type Sources = Parameters<typeof loadConfig>[0];
const load = (sources: Partial<Sources>) => loadConfig({ env: {}, ...sources });
const loadYaml = (text: string) => load({ file: fileOf(text) });

/** The mistakes that are reported; throws where there is none. */
function mistakes(sources: Partial<Sources>): readonly string[] {
  try {
    load(sources);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('this configuration was accepted');
}
const yamlMistakes = (text: string) => mistakes({ file: fileOf(text) });

interface Property {
  readonly type: string;
  readonly default: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
}
const PROPERTIES = Object.entries(ConfigSchema.properties) as unknown as [keyof Config, Property][];
const DEFAULTS = Object.fromEntries(PROPERTIES.map(([key, property]) => [key, property.default]));

describe('configuration', () => {
  it('has a valid default for every option', () => {
    expect(load({})).toEqual(DEFAULTS);
    expect(loadYaml('')).toEqual(DEFAULTS);
    expect(loadYaml('# nothing\n')).toEqual(DEFAULTS);
    expect(loadYaml(stringify(DEFAULTS))).toEqual(DEFAULTS);
  });

  it('takes each option from each source, the command line before variables before the file', () => {
    const values: Record<string, readonly [string, string, string]> = {
      listen: ['a:1', 'b:2', '[::1]:3'],
      dataDir: ['a', 'b', 'c'],
      storageDir: ['a', 'b', 'c'],
      publicUrl: ['https://a', 'http://b:2', 'https://c'],
      workers: ['2', 'auto', '3'],
      trustedProxies: ['10.0.0.1', '10.0.0.0/8, ::1', '10.0.0.3'],
      logLevel: ['debug', 'warn', 'silent'],
      databaseUrl: ['postgres://a/b', 'postgresql://u:p@h:1/d?sslmode=verify-full', 'postgresql:///d?host=/run'],
      databaseUrlFile: ['', '', ''],
      keysDir: ['a', 'b', 'c'],
      storage: ['files', 's3', 'files'],
      s3Bucket: ['one', 'two.three', 'Four'],
      s3Region: ['eu-west-1', 'a', 'local'],
      s3Endpoint: ['https://a', 'http://b:9000', 'https://[::1]:9000/'],
      s3Prefix: ['a', 'a/b', 'a/b/'],
      s3Addressing: ['path', 'host', 'auto'],
      s3AccessKeyId: ['a', 'b', 'c'],
      s3SecretKeyFile: ['a', 'b', 'c'],
      s3Checksums: ['required', 'always', 'required'],
      coldStorage: ['off', 's3', 'off'],
      coldDirectory: ['d', 'e', 'f'],
      coldBucket: ['three', 'Three', 'a.b'],
      encryption: ['file', 'off', 'file'],
      encryptionKeyFile: ['a', 'b', 'c'],
      encryptionVaultKey: ['https://a/v1/transit/keys/a', 'http://b:8200/v1/t/keys/b', 'https://[::1]:8200/v1/x/y/keys/c'],
      encryptionVaultTokenFile: ['a', 'b', 'c'],
      encryptionVaultNamespace: ['a', 'a/b', 'c'],
      encryptionAwsKey: ['arn:aws:kms:eu-west-1:111122223333:key/a', 'alias/b', 'c'],
      encryptionProjectKeys: ['a=file:/a', 'a=aws:alias/b, b=vault:https://b/v1/transit/keys/b', 'c=vault:http://c:8200/v1/t/keys/c'],
      tierSchedule: ['0 3 * * *', '*/5 * * * *', '0 0 * * 1'],
      scrubOrphans: ['keep', 'collect', 'keep'],
      outboundAllow: ['10.0.0.1', '*.corp.example', '10.0.0.3'],
      outboundProxy: ['http://a:1', 'http://b:2', 'http://c:3'],
      outboundCaFile: ['a', 'b', 'c'],
    };
    const file: Record<string, unknown> = {};
    const env: Record<string, string> = {};
    const flags: Record<string, string> = {};
    const wanted: Record<string, unknown[]> = {};
    for (const [key, { type, minimum = 0 }] of PROPERTIES) {
      const own = type === 'boolean' ? [true, false, true] : type === 'integer' ? [minimum, minimum + 1, minimum + 2] : values[key];
      if (!own) throw new Error(`this test has no values for ${key}`);
      [file[key], env[variableOf(key)], flags[key]] = [own[0], String(own[1]), String(own[2])];
      wanted[key] = [...own];
    }
    const nth = (n: number) => Object.fromEntries(Object.entries(wanted).map(([key, own]) => [key, own[n]]));
    const path = fileOf(stringify(file));
    expect(load({ file: path })).toEqual(nth(0));
    expect(load({ env })).toEqual(nth(1));
    expect(load({ flags })).toEqual(nth(2));
    expect(load({ file: path, env })).toEqual(nth(1));
    expect(load({ file: path, flags })).toEqual(nth(2));
    expect(load({ env, flags })).toEqual(nth(2));
    expect(load({ file: path, env, flags })).toEqual(nth(2));
  });

  it('names its variables and flags after the option', () => {
    expect(variableOf('uploadExpiryHours')).toBe('ENTREPOT_UPLOAD_EXPIRY_HOURS');
    expect(flagOf('uploadExpiryHours')).toBe('--upload-expiry-hours');
    expect(flagOf('dataDir')).toBe('--data');
    for (const name of [variableOf, flagOf]) expect(new Set(PROPERTIES.map(([key]) => name(key))).size).toBe(PROPERTIES.length);
  });

  it('takes the number of workers as a number too', () => {
    expect(workerCount(loadYaml('workers: 3'))).toBe(3);
    expect(workerCount(loadYaml('workers: "3"'))).toBe(3);
    expect(workerCount(loadYaml('workers: auto'))).toBeGreaterThan(0);
  });

  it('does not care for variables of others, nor for those that are no options', () => {
    const env = {
      PATH: '/bin',
      ENTREPOTX: '1',
      entrepot_listen: 'x',
      ENTREPOT_ADMIN_PASSWORD: 'x',
      ENTREPOT_CONFIG: 'x',
      ENTREPOT_LISTEN: undefined,
    };
    expect(load({ env })).toEqual(DEFAULTS);
  });

  it('puts everything under the data directory', () => {
    const { root, ...rest } = dataPaths(load({ flags: { dataDir: '/srv/registry' } }));
    expect(root).toBe('/srv/registry');
    for (const path of Object.values(rest)) expect(path.startsWith('/srv/registry/')).toBe(true);
  });

  it('but the blobs where another registry has them', () => {
    const { blobs, database } = dataPaths(load({ flags: { dataDir: '/srv/data', storageDir: '/var/lib/registry' } }));
    expect({ blobs, database }).toEqual({ blobs: '/var/lib/registry/docker/registry/v2', database: '/srv/data/entrepot.db' });
  });
});

describe('mistakes', () => {
  it('are all reported at once, each with where it is, the option, its value and what is allowed', () => {
    const file = fileOf(
      'listen: nowhere\nworkers: 0\ndrainSeconds: 1.5\nlogRequests: maybe\nnoSuchOption: 1\ntrustedProxies: 10.0.0.0/99\n',
    );
    const env = { ENTREPOT_TOKEN_SECONDS: '10', ENTREPOT_LOG_LEVEL: 'loud', ENTREPOT_NO_SUCH: '1' };
    const flags = { idleTimeoutSeconds: 'never', outboundAllow: 'not a host' };
    const found = mistakes({ file, env, flags });
    const wanted: [string, string, string, string][] = [
      [file, 'listen', '"nowhere"', 'HOST:PORT'],
      [file, 'workers', '"0"', '1 to 99'],
      [file, 'drainSeconds', '1.5', 'a whole number from 0 to 3600'],
      [file, 'logRequests', '"maybe"', 'true or false'],
      [file, 'noSuchOption', '', 'known: listen'],
      ['environment: ENTREPOT_TOKEN_SECONDS', 'tokenSeconds', '10', 'a whole number from 60 to 600'],
      ['environment: ENTREPOT_LOG_LEVEL', 'logLevel', '"loud"', 'trace, debug, info'],
      ['environment', 'ENTREPOT_NO_SUCH', '', 'known: ENTREPOT_LISTEN'],
      ['command line', 'idleTimeoutSeconds', '"never"', 'a whole number from 1 to 3600'],
      ['', 'trustedProxies', '"10.0.0.0/99"', 'neither an address nor a CIDR range'],
      ['', 'outboundAllow', '"not a host"', ''],
    ];
    expect(found).toHaveLength(wanted.length);
    wanted.forEach((parts, index) => {
      for (const part of parts) expect(found[index]).toContain(part);
      expect(found[index]).not.toContain('\n');
    });
    const error = new ConfigError(found);
    expect(error.message.split('\n')).toHaveLength(1 + wanted.length);
    expect(error.message).toContain('11 mistakes');
    expect(new ConfigError(['one']).message).toContain('1 mistake:');
  });

  it('of encryption without what it needs are found', () => {
    for (const encryption of ['vault', 'aws']) expect(mistakes({ flags: { encryption } })[0]).toContain('is empty');
    expect(mistakes({ flags: { encryptionVaultTokenFile: 'a' } })[0]).toContain('together');
  });

  it('of options that need each other are found', () => {
    expect(mistakes({ flags: { layoutCompatible: 'true' } })[0]).toContain('needs a storageDir, or storage s3');
    expect(load({ flags: { layoutCompatible: 'true', storageDir: 'a' } }).layoutCompatible).toBe(true);
    expect(mistakes({ flags: { storage: 's3' } })[0]).toContain('s3Bucket is empty');
    for (const flags of [{ s3AccessKeyId: 'a' }, { s3SecretKeyFile: 'a' }]) expect(mistakes({ flags })[0]).toContain('together');
    expect(load({ flags: { storage: 's3', s3Bucket: 'bucket' } }).s3Endpoint).toBe('');
    const s3 = { storage: 's3', s3Bucket: 'bucket' };
    for (const [flags, problem] of [
      [{ coldStorage: 'files' }, 'coldDirectory is empty'],
      [{ coldStorage: 'files', dataDir: 'a', coldDirectory: './a/storage' }, 'the folder of the hot tier'],
      [{ coldStorage: 'files', storageDir: 'a', coldDirectory: 'a/' }, 'the folder of the hot tier'],
      [{ coldStorage: 's3' }, 'coldBucket is empty'],
      [{ ...s3, coldStorage: 'files', coldDirectory: 'b' }, 'behind storage s3 it must be s3'],
      [{ ...s3, coldStorage: 's3' }, 'the bucket of the hot tier'],
      [{ layoutCompatible: 'true', storageDir: 'a', coldStorage: 'files', coldDirectory: 'b' }, 'registry:2 cannot take over'],
    ] as const)
      expect(mistakes({ flags })[0]).toContain(problem);
    expect(load({ flags: { coldStorage: 's3', s3Bucket: 'bucket' } }).coldBucket).toBe('');
    expect(load({ flags: { ...s3, coldStorage: 's3', coldBucket: 'other' } }).coldBucket).toBe('other');
  });

  it('of the address of the database do not show it, whatever is wrong with it (attack class F4)', () => {
    const secret = 'hunter2-of-the-database';
    const found = mistakes({ env: { ENTREPOT_DATABASE_URL: `mysql://u:${secret}@h/d?password=${secret}` } });
    expect(found[0]).toContain('databaseUrl');
    expect(found.join()).not.toContain(secret);
    for (const databaseUrl of ['mysql://a/b', 'postgres', 'postgres://', 'postgres://a b'])
      expect(mistakes({ flags: { databaseUrl } })).toHaveLength(1);
    expect(mistakes({ flags: { databaseUrl: 'postgres://a/b', databaseUrlFile: 'c' } })[0]).toContain('both');
    const shown = shownConfig(load({ flags: { databaseUrl: `postgres://u:${secret}@h/d?password=${secret}` } }));
    expect(JSON.stringify(shown)).not.toContain(secret);
    expect(shown.databaseUrl).toBe('***');
  });

  it('in the file with the address of the database are found, and do not show what it holds', () => {
    const config = (text: string) => load({ flags: { databaseUrlFile: fileOf(text) } });
    expect(databaseAddress(config('postgresql://u:p@h/d\n'))).toBe('postgresql://u:p@h/d');
    expect(() => databaseAddress(config('u:hunter2@h/d'))).toThrow('holds no address');
    expect(() => databaseAddress(config('u:hunter2@h/d'))).not.toThrow('hunter2');
    expect(isOnPostgres(config('x'))).toBe(true);
    expect(isOnPostgres(load({}))).toBe(false);
  });

  it('of an unknown option or variable say which one may be meant', () => {
    expect(yamlMistakes('data_dir: x')[0]).toContain('did you mean dataDir?');
    expect(yamlMistakes('Listen: a:1')[0]).toContain('did you mean listen?');
    expect(yamlMistakes('drain-seconds: 1')[0]).toContain('did you mean drainSeconds?');
    expect(mistakes({ env: { ENTREPOT_DATADIR: 'x' } })[0]).toContain('did you mean ENTREPOT_DATA_DIR?');
    for (const key of ['__proto__', 'constructor', 'toString', '1', '""', 'null'])
      expect(yamlMistakes(`${key}: x`)[0]).toContain('is not an option');
  });

  it.each(PROPERTIES.map(([key, property]) => [key, property] as const))('%s: values of another type', (key, { type }) => {
    const others = ['[]', '[1]', '[2]', '{}', '{a: 1}', 'null', '', '1.5', '.nan', '.inf', '2001-01-01T00:00:00Z'];
    const wrong = [...others, ...(type === 'boolean' ? ['1', '"true"', 'yes'] : ['true'])];
    // Of free text only what YAML itself reads as text is text.
    for (const text of wrong.filter((each) => type !== 'string' || !each.startsWith('2001'))) {
      expect(yamlMistakes(`${key}: ${text}`)[0], text).toContain(`${key} is `);
    }
  });

  it.each(PROPERTIES.flatMap(([key, property]) => (property.type === 'integer' ? [[key, property] as const] : [])))(
    '%s: numbers outside its limits',
    (key, { minimum = 0, maximum = 0 }) => {
      // One that is bounded by another is tried where that leaves it all its room.
      const room: Record<string, string> = { hotTierLowPercent: '0', hotTierHighPercent: '100' };
      for (const inside of [minimum, maximum]) expect(load({ flags: { ...room, [key]: String(inside) } })[key]).toBe(inside);
      const outside = [minimum - 1, maximum + 1, -1, 2 ** 60].map(String);
      for (const text of [...outside, '', ' 1', '1e3', '0x10', '1.0', `${'9'.repeat(400)}`, 'x', '1_000', 'true']) {
        expect(mistakes({ flags: { [key]: text } })[0], text).toContain(`from ${minimum} to ${maximum}`);
      }
    },
  );

  it.each<[keyof Config, readonly string[]]>([
    ['listen', ['', 'host', ':5000', 'host:', 'host:x', 'host:123456', 'host:65536', 'a b:1', '::1:5000', '[::1]', 'host:1\n']],
    ['dataDir', ['']],
    ['publicUrl', ['registry.example.com', 'ftp://host', 'https://', 'https://host/path', 'https://host?x', 'https://a b']],
    ['workers', ['0', '-1', '100', '1.5', 'many', 'AUTO', '']],
    ['trustedProxies', ['host', '10.0.0', '010.0.0.1', '0x7f.1', '10.0.0.0/33', '10.0.0.1;10.0.0.2', '::/200']],
    ['logLevel', ['', 'INFO', 'verbose', 'info,warn']],
    ['storage', ['', 'S3', 'disk']],
    ['s3Bucket', ['a', '-a', 'a/b', 'a b', '../b']],
    ['s3Region', ['', 'eu west', 'a/b']],
    ['s3Endpoint', ['host:9000', 'ftp://host', 'https://', 'https://host/path', 'https://key@host', 'https://a b']],
    ['s3Prefix', ['/', '/a', 'a//b', 'a b', 'a?', '%41', 'ä']],
    ['s3Addressing', ['', 'virtual', 'PATH']],
    ['s3Checksums', ['', 'never']],
    ['encryption', ['', 'on', 'FILE', 'kms']],
    [
      'encryptionVaultKey',
      ['vault', 'https://vault/v1/transit', 'https://key@vault/v1/transit/keys/a', 'https://vault/v1/transit/keys/../a b'],
    ],
    ['encryptionVaultNamespace', ['a b', 'a\nb']],
    ['encryptionAwsKey', ['a b', 'alias/ä']],
    [
      'encryptionProjectKeys',
      [
        'a',
        'a=file:keys',
        'A=file:/a',
        'a=gcp:key',
        'a=vault:https://vault/v1/transit',
        'a=aws:alias/ä',
        'a=file:/a, a=file:/b',
        'a=file:',
      ],
    ],
    ['scrubOrphans', ['', 'remove']],
    ['coldStorage', ['', 'S3', 'on']],
    ['coldBucket', ['a', '-a', 'a/b']],
    ['outboundProxy', ['proxy:3128', 'socks5://proxy', 'http://proxy/path']],
    ['sparseIndexes', ['', '1', 'yes', 'TRUE']],
  ])('%s: text outside its grammar', (key, texts) => {
    for (const text of texts) expect(mistakes({ flags: { [key]: text } })[0], text).toContain(`${key} is ${JSON.stringify(text)}`);
  });

  it.each([
    'http://user:hidden@proxy:3128/path',
    'http://user:hidd@en@proxy/x',
    'http://user:hid/den@proxy',
    'http://:hidden@proxy ',
    'x://u:hidden@',
  ])('do not show the password in %j', (outboundProxy) => {
    for (const sources of [{ flags: { outboundProxy } }, { file: fileOf(stringify({ outboundProxy })) }]) {
      const [found = ''] = mistakes(sources);
      expect(found).toContain('outboundProxy is "');
      expect(found).toContain(':***@');
      expect(found).not.toMatch(/hid|den|en@/);
    }
  });

  it('throws nothing but a ConfigError, whatever the file, variables and flags', () => {
    const key = fc.oneof(fc.constantFrom(...PROPERTIES.map(([name]) => name)), fc.string());
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('auto', '1', 0, -1, 'a:1'));
    const flags = fc.dictionary(fc.constantFrom(...PROPERTIES.map(([name]) => name)), fc.string());
    fc.assert(
      fc.property(fc.dictionary(key, value, { maxKeys: 5 }), flags, (given, words) => {
        try {
          load({ file: fileOf(JSON.stringify(given)), flags: words });
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
        }
      }),
    );
  });
});

describe('a file', () => {
  it('that is not there, or is a folder, is a mistake', () => {
    expect(mistakes({ file: join(folder, 'none.yaml'), env: { ENTREPOT_WORKERS: '0' } })).toEqual([
      expect.stringContaining('none.yaml: cannot be read'),
      expect.stringContaining('workers'),
    ]);
    expect(mistakes({ file: folder })[0]).toContain('cannot be read');
  });

  it.each([
    ['that is no YAML', 'listen: [', ''],
    ['with an option twice', 'workers: 2\nworkers: 3', 'unique'],
    ['with an option twice, once in quotes', 'workers: 2\n"workers": 3', 'unique'],
    ['of several documents', 'workers: 2\n---\nworkers: 3', 'document'],
    ['with tabs for indentation', 'listen:\n\t- a', ''],
    ['that is a list', '- listen', 'must be a mapping'],
    ['that is one word', 'listen', 'must be a mapping'],
    ['that is a number', '5000', 'must be a mapping'],
    ['with an alias of nothing', 'listen: *none', ''],
  ])('%s is a mistake', (_, text, part) => {
    const file = fileOf(text);
    const found = mistakes({ file, flags: { workers: '0' } });
    expect(found[0]).toContain(file);
    expect(found[0]).toContain(part);
    expect(found.at(-1)).toContain('workers'); // and does not hide others
    for (const problem of found) expect(problem).not.toContain('\n');
  });

  it('whose aliases multiply is refused, and costs nothing', () => {
    const level = (n: number) =>
      `${'abcdefghij'[n]}: &${'abcdefghij'[n]} [${Array(10)
        .fill(n === 0 ? 'x' : `*${'abcdefghij'[n - 1]}`)
        .join()}]`;
    const file = fileOf(Array.from({ length: 10 }, (_, n) => level(n)).join('\n'));
    const found = mistakes({ file, flags: { workers: '0' } });
    expect(found[0]).toContain(file);
    expect(found.at(-1)).toContain('workers');
  });

  it('may use an alias in reason', () => {
    expect(loadYaml('outboundCaFile: &file /etc/ca.pem\ndataDir: *file').dataDir).toBe('/etc/ca.pem');
  });
});
