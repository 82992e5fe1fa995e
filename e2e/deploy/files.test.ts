import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { ConfigSchema, loadConfig, variableOf } from '../../packages/server/src/platform/config.ts';
import { temporaryFolder } from '../harness/server.ts';
import { describeIfPresent, describeWith, exec } from '../harness/tools.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DEPLOY = join(ROOT, 'deploy');
const read = (path: string) => readFileSync(join(DEPLOY, path), 'utf8');
const OTHERS = ['ENTREPOT_ADMIN_PASSWORD'];

/** Variables that are options, with values that the options allow. */
function requireOptions(env: Readonly<Record<string, string>>): void {
  loadConfig({ env: Object.fromEntries(Object.entries(env).filter(([name]) => !OTHERS.includes(name))) });
}

test('the variables of an option are spelled as the chart spells them', () => {
  for (const key of Object.keys(ConfigSchema.properties)) {
    expect(variableOf(key)).toBe(`ENTREPOT_${key.replace(/[A-Z]/g, '_$&').toUpperCase()}`);
  }
});

describe('the container image', () => {
  const lines = read('container/Containerfile').split('\n');

  it('is made of what there is', () => {
    const copied = lines.filter((line) => line.startsWith('COPY ')).flatMap((line) => line.split(' ').slice(1, -1));
    expect(copied).toContain('packages');
    for (const path of copied) expect(existsSync(join(ROOT, path)), path).toBe(true);
    expect(existsSync(join(ROOT, 'packages/cli/bin/entrepot.js'))).toBe(true);
  });

  it('sets options that exist, and is nobody in particular', () => {
    const set = Object.fromEntries(
      [...read('container/Containerfile').matchAll(/(ENTREPOT_[A-Z_]+)=(\S+)/g)].map(([, name, value]) => [name ?? '', value ?? '']),
    );
    expect(Object.keys(set)).toHaveLength(2);
    requireOptions(set);
    expect(lines).toContain('USER 10001:10001');
    expect(lines.indexOf('VOLUME /data')).toBeGreaterThan(lines.findIndex((line) => /^RUN install .*-o 10001 -g 10001 \/data$/.test(line)));
    expect(lines.some((line) => line.startsWith('RUN install'))).toBe(true);
  });
});

describe('the compose file', () => {
  interface Service {
    readonly image: string;
    readonly environment?: Readonly<Record<string, string>>;
    readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>;
    readonly volumes?: readonly string[];
    readonly secrets?: readonly string[];
  }
  const text = read('compose/compose.yaml');
  const file = parse(text, { merge: true }) as {
    services: Readonly<Record<string, Service>>;
    volumes: Readonly<Record<string, unknown>>;
    secrets: Readonly<Record<string, unknown>>;
  };

  it('gives its instances options that exist', () => {
    const instances = Object.entries(file.services).filter(([name]) => /^entrepot\d$/.test(name));
    expect(instances).toHaveLength(3);
    for (const [, { environment = {} }] of instances) {
      requireOptions(
        Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, value.replace(/\$\{[^}]*\}/g, 'given')])),
      );
    }
  });

  it('names services, volumes, secrets and files that there are', () => {
    for (const [name, service] of Object.entries(file.services)) {
      for (const other of Array.isArray(service.depends_on) ? service.depends_on : Object.keys(service.depends_on ?? {})) {
        expect(Object.keys(file.services), name).toContain(other);
      }
      for (const secret of service.secrets ?? []) expect(Object.keys(file.secrets)).toContain(secret);
      for (const [source = ''] of (service.volumes ?? []).map((volume) => volume.split(':'))) {
        if (source.startsWith('.')) expect(existsSync(join(DEPLOY, 'compose', source)), source).toBe(true);
        else expect(Object.keys(file.volumes)).toContain(source);
      }
    }
  });

  it('has no password of its own', () => {
    const given = [...text.matchAll(/^ +\w*(?:PASSWORD|SECRET_KEY): *(\S+)$/gm)].map(([, value]) => value);
    expect(given.length).toBeGreaterThan(2);
    for (const value of given) expect(value).toMatch(/^\$\{[A-Z0-9_]+:\?\}$/); // to be given, without a default
  });
});

describeWith(['haproxy'], 'the configuration of haproxy', () => {
  it('is what haproxy takes', async () => {
    const addresses = { LISTEN: '127.0.0.1:18080', ENTREPOT_1: '127.0.0.1:1', ENTREPOT_2: '127.0.0.1:2', ENTREPOT_3: '127.0.0.1:3' };
    await exec('haproxy', ['-c', '-f', join(DEPLOY, 'haproxy/haproxy.cfg')], addresses);
  });
});

describeWith(['keepalived', 'root'], 'the configuration of keepalived', () => {
  it('is what keepalived takes', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'keepalived.conf');
    writeFileSync(
      file,
      read('keepalived/keepalived.conf').replace('/usr/local/bin/check-haproxy', join(DEPLOY, 'keepalived/check-haproxy')),
    );
    await exec('keepalived', ['-t', '-f', file]);
  });
});

describeWith(['systemd-analyze'], 'the unit of systemd', () => {
  it('is what systemd takes, and starts a command that exists', async () => {
    const text = read('systemd/entrepot.service').replaceAll('/opt/entrepot/', ROOT.endsWith('/') ? ROOT : `${ROOT}/`);
    const file = join(temporaryFolder(), 'entrepot.service');
    writeFileSync(file, text);
    await exec('systemd-analyze', ['verify', '--man=no', file]);
    const [, script = ''] = /ExecStart=.* (\S+entrepot\.js) /.exec(text) ?? [];
    expect(existsSync(script)).toBe(true);
  });
});

describeIfPresent(['helm'], 'the Helm chart', () => {
  type Manifest = { kind: string; metadata: { name: string }; spec: never; data?: Record<string, string> };
  const chart = join(DEPLOY, 'kubernetes/entrepot');
  const NEEDED = [
    'image.repository=registry.test/entrepot',
    'database.existingSecret=db',
    's3.existingSecret=s3',
    'config.s3Bucket=images',
    'config.s3AccessKeyId=key',
  ];
  const template = async (...set: string[]): Promise<Manifest[]> => {
    const text = await exec('helm', ['template', 'prod', chart, '--kube-version', '1.30.0', ...set.flatMap((value) => ['--set', value])]);
    return parseAllDocuments(text)
      .map((document) => document.toJS({ maxAliasCount: 100 }) as Manifest)
      .filter((manifest) => manifest !== null);
  };
  const one = (all: readonly Manifest[], kind: string): Manifest => {
    const found = all.filter((manifest) => manifest.kind === kind);
    expect(found).toHaveLength(1);
    return found[0] as Manifest;
  };

  it('passes its lint', async () => {
    await exec('helm', ['lint', '--strict', '--kube-version', '1.30.0', chart, ...NEEDED.flatMap((value) => ['--set', value])]);
  });

  it('spreads instances over nodes, keeps them through disruptions, and asks the right addresses', async () => {
    const all = await template(...NEEDED);
    const deployment = one(all, 'Deployment').spec as {
      replicas: number;
      template: {
        spec: { affinity: unknown; terminationGracePeriodSeconds: number; containers: Record<string, unknown>[]; securityContext: unknown };
      };
    };
    expect(deployment.replicas).toBe(3);
    const { affinity, containers, securityContext, terminationGracePeriodSeconds } = deployment.template.spec;
    expect(JSON.stringify(affinity)).toContain('requiredDuringSchedulingIgnoredDuringExecution');
    expect(securityContext).toMatchObject({ runAsNonRoot: true });
    const [container] = containers;
    expect(container).toMatchObject({
      startupProbe: { httpGet: { path: '/livez' } },
      livenessProbe: { httpGet: { path: '/livez' } },
      readinessProbe: { httpGet: { path: '/readyz' } },
      securityContext: { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false },
    });
    const given = (container?.env ?? []) as { name: string; value: string }[];
    const env = Object.fromEntries(given.map(({ name, value }) => [name, value]));
    requireOptions(env);
    const config = loadConfig({ env });
    expect(config).toMatchObject({ storage: 's3', s3Bucket: 'images', databaseUrlFile: '/secrets/database/databaseUrl', keysDir: '/keys' });
    expect(terminationGracePeriodSeconds).toBeGreaterThan(config.drainDelaySeconds + config.drainSeconds);
    expect(one(all, 'PodDisruptionBudget').spec).toMatchObject({ maxUnavailable: 1 });
    const keys = one(all, 'Secret').data ?? {};
    expect(Buffer.from(keys['master.key'] ?? '', 'base64')).toHaveLength(32);
    expect(Buffer.from(keys['audit.key'] ?? '', 'base64').toString()).toContain('BEGIN PRIVATE KEY');
  });

  it('shows its other parts when asked', async () => {
    const all = await template(
      ...NEEDED,
      'ingress.enabled=true',
      'ingress.host=registry.test',
      'ingress.tlsSecret=tls',
      'serviceMonitor.enabled=true',
      'keys.existingSecret=mine',
      'antiAffinity=soft',
    );
    expect(one(all, 'Ingress').spec).toMatchObject({ rules: [{ host: 'registry.test' }] });
    one(all, 'ServiceMonitor');
    expect(all.some(({ kind }) => kind === 'Secret')).toBe(false);
  });

  it('refuses several instances without what they share', async () => {
    await expect(template(...NEEDED.filter((value) => !value.startsWith('database')))).rejects.toThrow('database.existingSecret is needed');
    await expect(template(...NEEDED, 'config.storage=files')).rejects.toThrow('config.storage must be s3');
  });
});
