import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../../packages/server/src/evidence/forwarding/testing-sinks.ts';
import { makeCertificate } from '../../packages/server/src/platform/testing-certificates.ts';
import { atEnd } from './at-end.ts';
import { until } from './raw.ts';
import { temporaryFolder } from './server.ts';
import { exec } from './tools.ts';

export const BASE = 'dc=corp,dc=example';
export const SEARCHER = { dn: `cn=searcher,${BASE}`, password: 'a password of who searches' };

/** A directory of this test alone: a real slapd. */
export interface Directory {
  readonly port: number;
  readonly securePort: number;
  /** PEM of the certificate, which is its own authority, for the name `ldap.test`. */
  readonly certificate: string;
  /** Changes entries, in LDIF. */
  modify(ldif: string): Promise<void>;
  signal(name: NodeJS.Signals): void;
}

const person = (uid: string, more = '') => `dn: uid=${uid},ou=people,${BASE}
objectClass: inetOrgPerson
cn: ${uid} of Corp
sn: ${uid}
uid: ${uid}
mail: ${uid}@corp.example
userPassword: password of ${uid}
${more}`;

const group = (cn: string, ...members: readonly string[]) => `dn: cn=${cn},ou=groups,${BASE}
objectClass: groupOfNames
cn: ${cn}
${members.map((member) => `member: ${member},${BASE}\n`).join('')}`;

const ENTRIES = [
  `dn: ${BASE}\nobjectClass: dcObject\nobjectClass: organization\no: corp\ndc: corp\n`,
  `dn: ou=people,${BASE}\nobjectClass: organizationalUnit\nou: people\n`,
  `dn: ou=groups,${BASE}\nobjectClass: organizationalUnit\nou: groups\n`,
  `dn: ${SEARCHER.dn}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: searcher\nuserPassword: ${SEARCHER.password}\n`,
  ...['ann', 'bob', 'admin', 'local', 'twin'].map((uid) => person(uid)),
  person('twin2', 'description: twin\n'),
  group('dev', 'uid=ann,ou=people', 'uid=bob,ou=people'),
  group('staff', 'cn=dev,ou=groups'),
  group('company', 'cn=staff,ou=groups', 'cn=loop,ou=groups'),
  group('loop', 'cn=company,ou=groups'),
];

export async function startDirectory(): Promise<Directory> {
  const folder = mkdtempSync(join(temporaryFolder(), 'slapd-'));
  const data = join(folder, 'data');
  mkdirSync(data);
  const { certificateFile, keyFile, certificate } = makeCertificate(folder, 'DNS:ldap.test');
  const root = { dn: `cn=root,${BASE}`, password: 'root of the test' };
  const config = join(folder, 'slapd.conf');
  const lines = [
    ...['core', 'cosine', 'inetorgperson'].map((name) => `include /etc/ldap/schema/${name}.schema`),
    ...['back_mdb', 'memberof'].map((name) => `moduleload ${name}.so`),
    'modulepath /usr/lib/ldap',
    `TLSCertificateFile ${certificateFile}`,
    `TLSCertificateKeyFile ${keyFile}`,
    'database mdb',
    'maxsize 16777216',
    `suffix ${BASE}`,
    `rootdn ${root.dn}`,
    `rootpw "${root.password}"`,
    `directory ${data}`,
    'overlay memberof',
    `access to attrs=userPassword by anonymous auth by * none`,
    `access to * by dn.exact="${SEARCHER.dn}" read by * none`,
  ];
  // The path of modules counts from where it stands.
  lines.sort((a, b) => Number(b.startsWith('modulepath')) - Number(a.startsWith('modulepath')));
  writeFileSync(config, `${lines.join('\n')}\n`);
  const [port, securePort] = [await freePort(), await freePort()];
  const urls = `ldap://127.0.0.1:${port} ldaps://127.0.0.1:${securePort}`;
  const child = spawn('/usr/sbin/slapd', ['-d', '0', '-f', config, '-h', urls], { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  atEnd(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await until('slapd listens', async () => child.exitCode !== null || (await answers(securePort)));
  if (child.exitCode !== null) throw new Error(`slapd ended:\n${printed}`);
  const apply = async (program: string, ldif: string) => {
    const file = join(folder, 'change.ldif');
    writeFileSync(file, ldif);
    await exec(program, ['-x', '-H', `ldap://127.0.0.1:${port}`, '-D', root.dn, '-w', root.password, '-f', file]);
  };
  await apply('ldapadd', ENTRIES.join('\n')); // while it runs, so that memberOf is kept
  return { port, securePort, certificate, modify: (ldif) => apply('ldapmodify', ldif), signal: (name) => void child.kill(name) };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
