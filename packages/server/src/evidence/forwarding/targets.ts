import Type, { type Static, type TProperties } from 'typebox';
import { AppError, PLAIN_URL } from '../../platform/index.ts';

const Host = (description: string) => Type.String({ minLength: 1, maxLength: 253, pattern: '^[A-Za-z0-9._:-]+$', description });
const Url = Type.String({
  maxLength: 2048,
  pattern: PLAIN_URL,
  description: 'http or https, without user, password, query and fragment',
});
const Visible = (description: string) => Type.String({ minLength: 1, maxLength: 255, pattern: '^[\\x21-\\x7e]+$', description });

const overConnection = {
  host: Host('name or address'),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  tls: Type.Optional(Type.Boolean({ default: true, description: 'false sends in the clear' })),
  serverName: Type.Optional(Host('what the certificate of the other side names, where that is not the host')),
  certificate: Type.Optional(
    Type.String({
      maxLength: 65_536,
      pattern: '^-----BEGIN CERTIFICATE-----',
      description: 'PEM; shown to who asks for a client certificate',
    }),
  ),
};
const closed = <P extends TProperties>(properties: P) => Type.Object(properties, { additionalProperties: false });

const Fluentd = closed({
  kind: Type.Literal('fluentd'),
  ...overConnection,
  tag: Type.Optional(Visible('default entrepot.audit')),
  user: Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: 'where the server asks for user and password too' })),
});
const Syslog = closed({
  kind: Type.Literal('syslog'),
  ...overConnection,
  facility: Type.Optional(Type.Integer({ minimum: 0, maximum: 23, default: 13, description: 'RFC 5424, table 1; 13 is log audit' })),
  hostname: Type.Optional(Visible('HOSTNAME of the messages; default the name of this machine')),
  enterprise: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 4_294_967_295,
      default: 32_473,
      description: 'enterprise number behind the @ of the structured data',
    }),
  ),
  maxBytes: Type.Optional(
    Type.Integer({
      minimum: 2048,
      maximum: 1 << 20,
      default: 8192,
      description: 'longest message the receiver takes whole; a longer record comes without what was before and after',
    }),
  ),
  confirm: Type.Optional(
    Type.Enum(['close', 'sent'], {
      default: 'close',
      description: 'close: records count as received when the receiver ends the connection after us; sent: when they are sent',
    }),
  ),
});
const Elasticsearch = closed({
  kind: Type.Literal('elasticsearch'),
  url: Url,
  index: Type.Optional(
    Type.String({
      maxLength: 200,
      pattern: '^[a-z0-9][a-z0-9._-]*(\\{(date|month)\\})?[a-z0-9._-]*$',
      default: 'entrepot-audit-{month}',
      description: 'index or data stream; {date} and {month} stand for those of the record, in UTC',
    }),
  ),
  user: Type.Optional(Type.String({ minLength: 1, maxLength: 255, pattern: '^[^:\\x00-\\x1f]+$' })),
});
const Http = closed({
  kind: Type.Literal('http'),
  url: Url,
  format: Type.Optional(Type.Enum(['ndjson', 'json'], { default: 'ndjson', description: 'a record a line, or an array' })),
});

export const Target = Type.Union([Fluentd, Syslog, Elasticsearch, Http], { description: 'where the records go, by kind' });
export type Target = Static<typeof Target>;
export type FluentdTarget = Static<typeof Fluentd>;
export type SyslogTarget = Static<typeof Syslog>;
export type ElasticsearchTarget = Static<typeof Elasticsearch>;
export type HttpTarget = Static<typeof Http>;
export type SinkKind = Target['kind'];

const Secret = (description: string) =>
  Type.Optional(Type.Union([Type.String({ minLength: 1, maxLength: 4096 }), Type.Null()], { description }));

/** Taken and never given back. */
export const SecretsInput = Type.Object(
  {
    sharedKey: Secret('fluentd: the shared key of its <security> section'),
    password: Secret('fluentd, elasticsearch: of the user'),
    clientKey: Secret('fluentd, syslog: PEM of the key of the client certificate'),
    apiKey: Secret('elasticsearch: in place of user and password'),
    authorization: Secret('http: value of the Authorization header'),
    hmacKey: Secret('http: key of the signature of each request'),
  },
  { additionalProperties: false, description: 'write-only; null removes one' },
);
export type SecretName = keyof Static<typeof SecretsInput>;
export type SinkSecrets = { readonly [name in SecretName]?: string };

const SECRETS_OF: Record<SinkKind, readonly SecretName[]> = {
  fluentd: ['sharedKey', 'password', 'clientKey'],
  syslog: ['clientKey'],
  elasticsearch: ['password', 'apiKey'],
  http: ['authorization', 'hmacKey'],
};
const HEADER_VALUE = /^[\x20-\x7e]+$/;

/** Secrets of a sink after a change. Throws `bad_request` for one that its kind does not know, or that no header can hold. */
export function changedSecrets(kind: SinkKind, known: SinkSecrets, change: Static<typeof SecretsInput>): SinkSecrets {
  for (const [name, value] of Object.entries(change) as [SecretName, string | null][]) {
    if (!SECRETS_OF[kind].includes(name)) throw new AppError('bad_request', `a sink of kind ${kind} has no ${name}`);
    if ((name === 'authorization' || name === 'apiKey') && value !== null && !HEADER_VALUE.test(value)) {
      throw new AppError('bad_request', `${name} may only hold visible ASCII`);
    }
  }
  return Object.fromEntries(Object.entries({ ...known, ...change }).filter(([, value]) => value !== null));
}

/** Where the connection leads: secrets given for one place are not sent to another. */
export function placeOf(target: Target): string {
  if ('url' in target) return `${target.kind} ${target.url}`;
  const { kind, host, port, tls = true, serverName = host } = target;
  return `${kind} ${host} ${port} ${tls} ${serverName}`;
}
