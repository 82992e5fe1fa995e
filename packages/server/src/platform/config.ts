import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import type * as Yaml from 'yaml';
import { parseRanges } from './address-ranges.ts';
import { parseDestinations } from './destinations.ts';
import { parseKeyNames } from './key-names.ts';

interface TextOption {
  /** Never shown. */
  readonly secret?: boolean;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly default: string;
  readonly description: string;
}
interface NumberOption {
  readonly minimum: number;
  readonly maximum: number;
  readonly default: number;
  readonly description: string;
}
interface SwitchOption {
  readonly default: boolean;
  readonly description: string;
}

/** JSON Schema of an option; the same words as those of TypeBox, which is too large for what the start needs. */
const Type = {
  String: <O extends TextOption>(option: O) => ({ type: 'string' as const, ...option }),
  Integer: <O extends NumberOption>(option: O) => ({ type: 'integer' as const, ...option }),
  Boolean: <O extends SwitchOption>(option: O) => ({ type: 'boolean' as const, ...option }),
  Object: <P>(properties: P) => ({ type: 'object' as const, properties }),
};
const load = createRequire(import.meta.url);

const seconds = (minimum: number, maximum: number, value: number, description: string) =>
  Type.Integer({ minimum, maximum, default: value, description });

/** The one schema of every option: YAML file, `ENTREPOT_…` variables, command line and documentation derive from it. */
export const ConfigSchema = Type.Object({
  listen: Type.String({
    pattern: '^(\\[[0-9a-fA-F:.]+\\]|[^\\s:]+):[0-9]{1,5}$',
    default: '127.0.0.1:5000',
    description: 'address to listen on, HOST:PORT; [HOST]:PORT for IPv6; port 0 takes a free one',
  }),
  dataDir: Type.String({ minLength: 1, default: './data', description: 'folder of the database, the blobs and the keys' }),
  storageDir: Type.String({
    default: '',
    description:
      'folder of the blobs, laid out as registry:2 and Harbor do it (docker/registry/v2 is below it); empty for storage in the data directory',
  }),
  layoutCompatible: Type.Boolean({
    default: false,
    description: 'also write every change as the files by which registry:2 knows repositories and tags, so that it can take over again',
  }),
  publicUrl: Type.String({
    pattern: '^(https?://[^\\s/?#]+)?$',
    default: '',
    description: 'address that clients use, such as https://registry.example.com; empty takes it from each request',
  }),
  workers: Type.String({
    pattern: '^(auto|[1-9][0-9]?)$',
    default: '1',
    description: 'processes that share the port, 1 to 99; auto takes one for each processor',
  }),
  trustedProxies: Type.String({
    default: '',
    description: 'addresses or CIDR ranges, separated by commas, whose X-Forwarded-* headers are believed',
  }),
  drainSeconds: seconds(0, 3600, 60, 'how long running requests may take to finish after SIGTERM'),
  drainDelaySeconds: seconds(
    0,
    300,
    0,
    'how long to go on as before after SIGTERM while /readyz says 503, so that load balancers turn away first',
  ),
  idleTimeoutSeconds: seconds(1, 3600, 60, 'a transfer that moves no byte for so long is cut'),
  logLevel: Type.String({
    pattern: '^(trace|debug|info|warn|error|fatal|silent)$',
    default: 'info',
    description: 'least level that is logged: trace, debug, info, warn, error, fatal or silent',
  }),
  logRequests: Type.Boolean({ default: false, description: 'log every request, not only failures' }),
  sparseIndexes: Type.Boolean({ default: false, description: 'accept an index some of whose manifests are not in the repository' }),
  sparseImages: Type.Boolean({
    default: false,
    description: 'accept an image whose config or some of whose layers are not in the repository',
  }),
  manifestMaxBytes: Type.Integer({
    minimum: 1024,
    maximum: 64 * 1024 * 1024,
    default: 4 * 1024 * 1024 + 65_536,
    description: 'largest manifest accepted, in bytes',
  }),
  blobMaxBytes: Type.Integer({
    minimum: 1024,
    maximum: 2 ** 50,
    default: 2 ** 40,
    description: 'largest blob accepted, in bytes',
  }),
  uploadExpiryHours: Type.Integer({
    minimum: 1,
    maximum: 8760,
    default: 24,
    description: 'an upload nobody continued for so long is removed',
  }),
  collectionGraceSeconds: seconds(
    1,
    31_536_000,
    172_800,
    'how long a blob that nothing needs stays, after its push, its last use or the deletion of the last image that had it; less than an hour is for tests',
  ),
  databaseUrl: Type.String({
    pattern: '^(postgres(ql)?://\\S+)?$',
    default: '',
    secret: true,
    description:
      'address of a PostgreSQL database, such as postgresql://USER:PASSWORD@HOST/DATABASE; empty keeps SQLite in the data directory',
  }),
  databaseUrlFile: Type.String({ default: '', description: 'file with that address and nothing else, instead of databaseUrl' }),
  databaseConnections: Type.Integer({
    minimum: 2,
    maximum: 500,
    default: 10,
    description: 'connections to PostgreSQL that each process opens at most, besides one that listens',
  }),
  keysDir: Type.String({
    default: '',
    description: 'folder of the keys, which all instances on one database share; empty for keys in the data directory',
  }),
  storage: Type.String({
    pattern: '^(files|s3)$',
    default: 'files',
    description: 'where blobs are kept: files in the data directory, or an s3 bucket',
  }),
  s3Bucket: Type.String({
    pattern: '^([a-z0-9A-Z][a-zA-Z0-9._-]{1,253})?$',
    default: '',
    description: 'bucket of the blobs, which has to be there',
  }),
  s3Region: Type.String({ pattern: '^[a-zA-Z0-9-]{1,64}$', default: 'us-east-1', description: 'region of the bucket' }),
  s3Endpoint: Type.String({
    pattern: '^(https?://[^\\s/?#@]+/?)?$',
    default: '',
    description: 'address of the S3 server, such as https://s3.corp.example:9000; empty for AWS',
  }),
  s3Prefix: Type.String({
    pattern: '^([a-zA-Z0-9!_.*()=-]+(/[a-zA-Z0-9!_.*()=-]+)*/?)?$',
    default: '',
    description: 'what the keys of all objects begin with, such as registry/prod; empty for nothing',
  }),
  s3Addressing: Type.String({
    pattern: '^(auto|path|host)$',
    default: 'auto',
    description: 'where requests name the bucket: path, host, or auto, which is path where s3Endpoint is given',
  }),
  s3AccessKeyId: Type.String({
    pattern: '^[^\\s]{0,256}$',
    default: '',
    description: "access key; empty for the usual AWS_ variables and files, the instance's role or the service account's token",
  }),
  s3SecretKeyFile: Type.String({ default: '', description: 'file with the secret of s3AccessKeyId and nothing else' }),
  s3Checksums: Type.String({
    pattern: '^(always|required)$',
    default: 'always',
    description: 'send CRC32 checksums with all data: always, or where S3 requires them, for servers that know none',
  }),
  s3Redirect: Type.Boolean({
    default: false,
    description: 'answer downloads of larger blobs with a redirect to an address at the S3 server that is valid for minutes',
  }),
  coldStorage: Type.String({
    pattern: '^(off|files|s3)$',
    default: 'off',
    description: 'a second, cheaper tier for blobs that are hardly read: off, files in coldDirectory, or an s3 bucket',
  }),
  coldDirectory: Type.String({ default: '', description: 'folder of the cold tier of coldStorage: files, on another disk' }),
  coldBucket: Type.String({
    pattern: '^([a-z0-9A-Z][a-zA-Z0-9._-]{1,253})?$',
    default: '',
    description: 'bucket of coldStorage: s3, at the server and with the keys of the s3 options; empty for s3Bucket, where storage is files',
  }),
  hotTierBytes: Type.Integer({
    minimum: 0,
    maximum: 2 ** 53 - 1,
    default: 0,
    description: 'what the hot tier may hold, in bytes; 0: the disk that it is on, with all else that is on it',
  }),
  hotTierHighPercent: Type.Integer({
    minimum: 1,
    maximum: 100,
    default: 85,
    description: 'where the hot tier holds more than this share of that, the coldest blobs go to the cold tier',
  }),
  hotTierLowPercent: Type.Integer({
    minimum: 0,
    maximum: 100,
    default: 75,
    description: 'until it holds no more than this share; beyond it nothing is brought back before somebody reads it',
  }),
  coldAfterDays: Type.Integer({
    minimum: 0,
    maximum: 3650,
    default: 30,
    description:
      'a blob that was read once goes to the cold tier after so many days without another read, even where there is room; 0: never',
  }),
  heatHalfLifeDays: Type.Integer({
    minimum: 1,
    maximum: 365,
    default: 7,
    description: 'after so many days a read counts half as much for where a blob should lie',
  }),
  tierMinBytes: Type.Integer({
    minimum: 1,
    maximum: 2 ** 40,
    default: 2 ** 20,
    description: 'smaller blobs, as nearly all configs are, always stay in the hot tier; in bytes',
  }),
  tierMinHours: Type.Integer({
    minimum: 0,
    maximum: 8760,
    default: 24,
    description: 'for so long a blob stays where it is after its push or its last move, unless hotTierBytes is exceeded',
  }),
  tierSchedule: Type.String({
    pattern: '^\\S+( \\S+){4,5}$',
    default: '*/10 * * * *',
    description: 'when blobs are moved between the tiers: a cron expression, in UTC',
  }),
  tierMibPerSecond: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 64,
    description: 'how many MiB per second are moved at most; less while requests press',
  }),
  heatRecorded: Type.Boolean({
    default: false,
    description: 'record what is read though there is no cold tier, so that a simulation can tell what one would do',
  }),
  encryption: Type.String({
    pattern: '^(off|file|vault|aws)$',
    default: 'off',
    description: 'encrypt blobs and uploads; keys are kept in a file, by the transit engine of vault (or OpenBao), or by aws (KMS)',
  }),
  encryptionKeyFile: Type.String({
    default: '',
    description: 'file of the keys of encryption: file; empty for keys/encryption.keys in the data directory',
  }),
  encryptionVaultKey: Type.String({
    pattern: '^(https?://[^\\s/?#@]+(/[A-Za-z0-9._-]+)+/keys/[A-Za-z0-9._-]+)?$',
    default: '',
    description: 'address of the key of encryption: vault, such as https://vault.example.com:8200/v1/transit/keys/entrepot',
  }),
  encryptionVaultTokenFile: Type.String({ default: '', description: 'file with a token of Vault and nothing else; read for each call' }),
  encryptionVaultNamespace: Type.String({
    pattern: '^[A-Za-z0-9._/-]{0,256}$',
    default: '',
    description: 'namespace of the key at Vault; empty for none',
  }),
  encryptionAwsKey: Type.String({
    pattern: '^[A-Za-z0-9:/_-]{0,2048}$',
    default: '',
    description: 'ARN of the key of encryption: aws, or of an alias of it',
  }),
  encryptionProjectKeys: Type.String({
    default: '',
    description:
      'keys that projects may be given in place of the one of encryption, by comma: name=file:/path, name=vault:address or name=aws:ARN',
  }),
  projectQuotaBytes: Type.Integer({
    minimum: 0,
    maximum: 2 ** 53 - 1,
    default: 0,
    description: 'quota of a new project, in bytes; 0 for none',
  }),
  tagHistoryChanges: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 1000,
    description: 'how many changes of a tag its history keeps, the latest; it is cut once an hour',
  }),
  tagHistoryDays: Type.Integer({
    minimum: 1,
    maximum: 36_500,
    default: 365,
    description: 'how long changes of tags stay in their history; of a tag that is there the last change stays in any case',
  }),
  trashDays: Type.Integer({
    minimum: 0,
    maximum: 3650,
    default: 14,
    description: 'how long deleted tags, manifests and repositories can be restored, unless their project says otherwise; 0: not at all',
  }),
  scrubDays: Type.Integer({
    minimum: 0,
    maximum: 3650,
    default: 30,
    description: 'all that is stored is read and verified once in so many days; 0 for only when asked for',
  }),
  scrubMibPerSecond: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 16,
    description: 'how many MiB per second that reads at most; less while requests press',
  }),
  scrubOrphans: Type.String({
    pattern: '^(auto|keep|collect)$',
    default: 'auto',
    description:
      'what becomes of objects in the store that nothing knows of: keep, collect, or auto, which keeps them where another registry filled the storage: where storageDir is given, layoutCompatible is true, or the storage was adopted',
  }),
  tokenSeconds: seconds(60, 600, 300, 'how long a token of the token service is valid'),
  refreshTokenDays: Type.Integer({ minimum: 1, maximum: 3650, default: 90, description: 'how long a refresh token is valid' }),
  sessionIdleMinutes: Type.Integer({
    minimum: 5,
    maximum: 10_080,
    default: 60,
    description: 'a session of the console that nobody used for so long ends',
  }),
  sessionHours: Type.Integer({ minimum: 1, maximum: 8760, default: 24, description: 'a session of the console ends so long after login' }),
  passwordMinLength: Type.Integer({ minimum: 8, maximum: 64, default: 12, description: 'characters that a password has at least' }),
  passwordClasses: Type.Integer({
    minimum: 0,
    maximum: 4,
    default: 0,
    description: 'how many of lower case, upper case, digits and other characters a password has at least',
  }),
  passwordHistory: Type.Integer({
    minimum: 0,
    maximum: 24,
    default: 0,
    description: 'how many former passwords a user may not take again',
  }),
  outboundAllow: Type.String({
    default: '',
    description:
      'where outgoing calls may go besides public addresses: addresses, CIDR ranges and hosts such as *.corp.example, separated by commas',
  }),
  outboundProxy: Type.String({
    pattern: '^(https?://[^\\s/?#]+/?)?$',
    default: '',
    description: 'proxy for outgoing calls, such as http://proxy:3128; empty calls directly',
  }),
  outboundCaFile: Type.String({
    default: '',
    description: 'PEM file of authorities that outgoing calls trust besides the usual ones; empty for none',
  }),
  webhookFailureHours: Type.Integer({
    minimum: 1,
    maximum: 8760,
    default: 72,
    description: 'a webhook none of whose deliveries succeeded for so long is disabled',
  }),
  webhookLogDays: Type.Integer({
    minimum: 1,
    maximum: 365,
    default: 14,
    description: 'how long the deliveries of webhooks stay in their log',
  }),
  auditRetentionDays: Type.Integer({
    minimum: 1,
    maximum: 36_500,
    default: 365,
    description: 'how long audit records are kept',
  }),
  auditLegalHold: Type.Boolean({ default: false, description: 'keep all audit records, whatever their age' }),
  auditPulls: Type.Boolean({ default: false, description: 'record pulls of images in the audit trail' }),
  inventory: Type.Boolean({
    default: true,
    description: 'read what pushed images hold, in the background; off: only where somebody asks for it',
  }),
  inventoryWorkers: Type.Integer({
    minimum: 1,
    maximum: 64,
    default: 1,
    description: 'layers that each process reads at once for that, each by a process of its own',
  }),
  metricsPublic: Type.Boolean({
    default: false,
    description: 'answer /metrics to any address; otherwise to this machine only',
  }),
});

type ValueOf<O> = O extends { type: 'integer' } ? number : O extends { type: 'boolean' } ? boolean : string;
type Options = typeof ConfigSchema.properties;
export type Config = { [K in keyof Options]: ValueOf<Options[K]> };
type Key = keyof Config;

const KEYS = Object.keys(ConfigSchema.properties) as Key[];

/** `dataDir` → `ENTREPOT_DATA_DIR`. */
export function variableOf(key: string): string {
  return `ENTREPOT_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** `dataDir` → `--data`, `uploadExpiryHours` → `--upload-expiry-hours`. */
export function flagOf(key: string): string {
  return key === 'dataDir' ? '--data' : `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Variables that are no option: the first admin's password, and where the file of options is. */
const OTHER_VARIABLES = new Set(['ENTREPOT_ADMIN_PASSWORD', 'ENTREPOT_CONFIG']);

/** All that is wrong with a configuration, a line each: where, key, value, what is allowed. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the configuration has ${problems.length} ${problems.length === 1 ? 'mistake' : 'mistakes'}:\n  ${problems.join('\n  ')}`);
    this.problems = problems;
  }
}

/** Options whose text has a grammar of its own; each throws for what is outside. */
const LISTS = { trustedProxies: parseRanges, outboundAllow: parseDestinations, encryptionProjectKeys: parseKeyNames };

interface Sources {
  /** Path of a YAML file. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Options of the command line, already under their schema keys. */
  readonly flags?: Readonly<Partial<Record<Key, string>>>;
}

/** Reads the configuration: defaults, then file, then variables, then command line. Throws ConfigError with every mistake at once. */
export function loadConfig({ file, env, flags = {} }: Sources): Config {
  const problems: string[] = [];
  const values = new Map<string, unknown>(KEYS.map((key) => [key, (ConfigSchema.properties[key] as { default?: unknown }).default]));
  const take = (origin: string, key: string, value: unknown) => {
    const problem = valueProblem(key, value);
    if (problem) problems.push(`${origin}: ${problem}`);
    else values.set(key, value);
  };
  if (file !== undefined) {
    for (const [key, value] of Object.entries(readYaml(file, problems))) {
      take(file, key, key === 'workers' && typeof value === 'number' ? String(value) : value);
    }
  }
  const byVariable = new Map<string, Key>(KEYS.map((key) => [variableOf(key), key]));
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('ENTREPOT_') || OTHER_VARIABLES.has(name) || text === undefined) continue;
    const key = byVariable.get(name);
    if (key === undefined) problems.push(`environment: ${name} is not an option${suggestion(name, [...byVariable.keys()])}`);
    else take(`environment: ${name}`, key, fromText(key, text));
  }
  for (const [key, text] of Object.entries(flags) as [string, string | undefined][])
    if (text !== undefined) take('command line', key, fromText(key as Key, text));
  const port = Number(String(values.get('listen')).split(':').at(-1));
  if (port > 65_535) problems.push(`listen is "${values.get('listen')}"; the port must be 0 to 65535`);
  for (const [key, parse] of Object.entries(LISTS)) {
    try {
      parse(String(values.get(key)));
    } catch (error) {
      problems.push(`${key} is ${JSON.stringify(values.get(key))}; ${(error as Error).message}`);
    }
  }
  if (values.get('layoutCompatible') === true && values.get('storage') === 'files' && values.get('storageDir') === '')
    problems.push('layoutCompatible is true; it needs a storageDir, or storage s3');
  if (values.get('storage') === 's3' && values.get('s3Bucket') === '') problems.push('s3Bucket is empty; storage s3 needs one');
  problems.push(...tierProblems(values));
  if ((values.get('s3AccessKeyId') === '') !== (values.get('s3SecretKeyFile') === ''))
    problems.push('s3AccessKeyId and s3SecretKeyFile are given together, or neither');
  const named = String(values.get('encryptionProjectKeys'));
  const isVaultUsed = values.get('encryptionVaultKey') !== '' || named.includes('=vault:');
  if (isVaultUsed !== (values.get('encryptionVaultTokenFile') !== ''))
    problems.push(
      'encryptionVaultKey, or a vault key in encryptionProjectKeys, and encryptionVaultTokenFile are given together, or neither',
    );
  if (values.get('encryption') === 'vault' && values.get('encryptionVaultKey') === '')
    problems.push('encryptionVaultKey is empty; encryption vault needs one');
  if (values.get('encryption') === 'aws' && values.get('encryptionAwsKey') === '')
    problems.push('encryptionAwsKey is empty; encryption aws needs one');
  if (values.get('databaseUrl') !== '' && values.get('databaseUrlFile') !== '')
    problems.push('databaseUrl and databaseUrlFile are both given; one of them is enough');
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.fromEntries(values) as Config;
}

function tierProblems(values: ReadonlyMap<string, unknown>): string[] {
  const text = (key: Key) => String(values.get(key));
  const [cold, bucket] = [text('coldStorage'), text('coldBucket') || text('s3Bucket')];
  const problems: string[] = [];
  if (Number(values.get('hotTierLowPercent')) > Number(values.get('hotTierHighPercent')))
    problems.push('hotTierLowPercent is more than hotTierHighPercent');
  if (cold === 'off') return problems;
  if (text('layoutCompatible') === 'true')
    problems.push('coldStorage is given; registry:2 cannot take over what lies in two tiers (layoutCompatible)');
  if (cold === 'files') {
    if (text('coldDirectory') === '') problems.push('coldDirectory is empty; coldStorage files needs one');
    if (text('storage') === 's3') problems.push('coldStorage is files; behind storage s3 it must be s3');
    const hot = text('storageDir') === '' ? resolve(text('dataDir'), 'storage') : resolve(text('storageDir'));
    if (text('coldDirectory') !== '' && resolve(text('coldDirectory')) === hot)
      problems.push('coldDirectory is the folder of the hot tier; it must be another, on another disk');
  } else {
    if (bucket === '') problems.push('coldBucket is empty; coldStorage s3 needs one');
    if (text('storage') === 's3' && bucket === text('s3Bucket'))
      problems.push('coldBucket is the bucket of the hot tier; it must be another');
  }
  return problems;
}

/** Text as it may be shown: of an address with a password in it the rest (invariant 11). */
export function withoutPassword(text: string): string {
  return text.replace(/(\/\/[^/:@]*):.*@/, '$1:***@');
}

/** Options as they may be shown: without any secret. */
export function shownConfig(config: Config): Record<string, unknown> {
  const shown = ([key, value]: [string, unknown]) => [
    key,
    isSecret(key) && value !== '' ? '***' : typeof value === 'string' ? withoutPassword(value) : value,
  ];
  return Object.fromEntries(Object.entries(config).map(shown)) as Record<string, unknown>;
}

function isSecret(key: string): boolean {
  return (ConfigSchema.properties as Record<string, { readonly secret?: boolean } | undefined>)[key]?.secret === true;
}

/** Whether the database is a PostgreSQL server, which several instances may share. */
export function isOnPostgres(config: Config): boolean {
  return config.databaseUrl !== '' || config.databaseUrlFile !== '';
}

/** Address of the PostgreSQL database. Throws where the file that should hold it does not. */
export function databaseAddress({ databaseUrl, databaseUrlFile }: Config): string {
  if (databaseUrlFile === '') return databaseUrl;
  const address = readFileSync(databaseUrlFile, 'utf8').trim();
  if (!/^postgres(ql)?:\/\/\S+$/.test(address)) throw new Error(`${databaseUrlFile} holds no address of a PostgreSQL database`);
  return address;
}

/** How many processes to run. */
export function workerCount(config: Config): number {
  return config.workers === 'auto' ? availableParallelism() : Number(config.workers);
}

/** The folders of a data directory. */
export function dataPaths(
  config: Config,
): Readonly<Record<'root' | 'database' | 'blobs' | 'keys' | 'lock' | 'checkpoints' | 'restoring' | 'moved', string>> {
  const root = resolve(config.dataDir);
  return {
    root,
    database: resolve(root, 'entrepot.db'),
    blobs: resolve(config.storageDir === '' ? resolve(root, 'storage') : config.storageDir, 'docker/registry/v2'),
    keys: config.keysDir === '' ? resolve(root, 'keys') : resolve(config.keysDir),
    lock: resolve(root, 'server.lock'),
    checkpoints: resolve(root, 'audit', 'checkpoints.ndjson'),
    restoring: resolve(root, 'restoring'),
    moved: resolve(root, 'moved'),
  };
}

function readYaml(file: string, problems: string[]): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    problems.push(`${file}: cannot be read (${(cause as Error).message})`);
    return {};
  }
  const { parseDocument } = load('yaml') as typeof Yaml; // only where there is such a file
  const document = parseDocument(text, { uniqueKeys: true });
  for (const error of document.errors) problems.push(`${file}: ${error.message.split('\n')[0]}`);
  if (document.errors.length > 0) return {};
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 10 });
  } catch (cause) {
    problems.push(`${file}: ${(cause as Error).message}`); // aliases of nothing, or too many
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    problems.push(`${file}: must be a mapping of options`);
    return {};
  }
  return value as Record<string, unknown>;
}

function fromText(key: Key, text: string): unknown {
  const type = (ConfigSchema.properties[key] as { type: string }).type;
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (type === 'integer') return /^-?[0-9]+$/.test(text) ? Number(text) : text;
  return text;
}

function valueProblem(key: string, value: unknown): string | undefined {
  const schema = (ConfigSchema.properties as Record<string, unknown>)[key] as
    | { type: string; pattern?: string; minimum?: number; maximum?: number; minLength?: number; description: string }
    | undefined;
  if (schema === undefined || !Object.hasOwn(ConfigSchema.properties, key)) return `${key} is not an option${suggestion(key, KEYS)}`;
  const shown = isSecret(key) ? 'not shown' : withoutPassword(JSON.stringify(value));
  switch (schema.type) {
    case 'boolean':
      return typeof value === 'boolean' ? undefined : `${key} is ${shown}; allowed: true or false`;
    case 'integer': {
      const inside =
        Number.isSafeInteger(value) && (value as number) >= (schema.minimum ?? 0) && (value as number) <= (schema.maximum ?? 0);
      return inside ? undefined : `${key} is ${shown}; allowed: a whole number from ${schema.minimum} to ${schema.maximum}`;
    }
    default: {
      const fits = typeof value === 'string' && value.length >= (schema.minLength ?? 0) && new RegExp(schema.pattern ?? '').test(value);
      return fits ? undefined : `${key} is ${shown}; allowed: ${schema.description}`;
    }
  }
}

function suggestion(name: string, known: readonly string[]): string {
  const folded = name.toLowerCase().replace(/[_-]/g, '');
  const near = known.find((other) => other.toLowerCase().replace(/_/g, '') === folded);
  return near ? `; did you mean ${near}?` : `; known: ${known.join(', ')}`;
}
