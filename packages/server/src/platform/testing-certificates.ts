import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Continuous integration has it; elsewhere what needs it is skipped with one line. */
export const HAS_OPENSSL = process.env.ENTREPOT_REQUIRE_CLIENTS === '1' || canRun('openssl');
if (!HAS_OPENSSL) console.log('skipped: what needs certificates (needs openssl)');

function canRun(program: string): boolean {
  try {
    execFileSync(program, ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Makes a certificate that is its own authority, for names such as `DNS:good.test` or `IP:127.0.0.1`, as files of a folder. */
export function makeCertificate(folder: string, ...names: readonly string[]) {
  const [keyFile, certificateFile] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=own'];
  const files = ['-keyout', keyFile, '-out', certificateFile];
  execFileSync('openssl', [...words, '-addext', `subjectAltName=${names}`, ...files], { stdio: 'ignore' });
  return { keyFile, certificateFile, key: readFileSync(keyFile, 'utf8'), certificate: readFileSync(certificateFile, 'utf8') };
}
