import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomImage, writeLayout } from '../clients/images.ts';
import { atEnd } from '../harness/at-end.ts';
import { Client } from '../harness/client.ts';
import { temporaryFolder } from '../harness/server.ts';
import { exec } from '../harness/tools.ts';

export interface DockerRegistry {
  readonly address: string;
  /** Without credentials, as it asks for none. */
  readonly client: Client;
  stop(): Promise<void>;
}

/** Starts Debian's docker-registry (distribution) on a folder. */
export async function startDockerRegistry(root: string): Promise<DockerRegistry> {
  return await start(`  filesystem:\n    rootdirectory: ${root}\n`);
}

export interface S3Options {
  readonly endpoint: string;
  readonly bucket: string;
  readonly rootdirectory: string;
  readonly id: string;
  readonly secret: string;
}

/** The same in a bucket, by its s3 driver. */
export async function startDockerRegistryOnS3({ endpoint, bucket, rootdirectory, id, secret }: S3Options): Promise<DockerRegistry> {
  const settings = {
    ...{ region: 'us-east-1', regionendpoint: endpoint, forcepathstyle: true, secure: false, bucket, rootdirectory },
    ...{ accesskey: id, secretkey: secret, v4auth: true },
  };
  const lines = Object.entries(settings).map(([name, value]) => `    ${name}: ${value}\n`);
  return await start(`  s3:\n${lines.join('')}  redirect:\n    disable: true\n`);
}

async function start(driver: string): Promise<DockerRegistry> {
  const config = join(temporaryFolder(), 'config.yml');
  const storage = `storage:\n${driver}  delete:\n    enabled: true\n`;
  writeFileSync(config, `version: 0.1\nlog:\n  level: info\n${storage}http:\n  addr: 127.0.0.1:0\n`);
  // Its S3 client would take settings from variables, such as a bundle of authorities that it cannot use.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AWS_')));
  const child = spawn('docker-registry', ['serve', config], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const stop = (signal: NodeJS.Signals = 'SIGTERM') =>
    new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve();
      child.once('exit', () => resolve());
      child.kill(signal);
    });
  atEnd(() => stop('SIGKILL'));
  let printed = '';
  const address = await new Promise<string>((resolve, reject) => {
    const take = (chunk: Buffer) => {
      printed += chunk.toString();
      const match = /listening on (127\.0\.0\.1:[0-9]+)/.exec(printed);
      if (match?.[1]) resolve(match[1]);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`docker-registry ended:\n${printed}`)));
  });
  return { address, client: Client.anonymous(`http://${address}`), stop: () => stop() };
}

/** Pushes `by/skopeo:1` with another's tool, which writes Docker's own media types. */
export async function pushBySkopeo(address: string): Promise<void> {
  const layout = join(temporaryFolder(), 'layout');
  writeLayout(layout, randomImage(), 'x');
  await exec('skopeo', ['copy', '--dest-tls-verify=false', '--format', 'v2s2', `oci:${layout}:x`, `docker://${address}/by/skopeo:1`]);
}
