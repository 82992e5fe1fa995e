const PROVIDERS = ['file', 'vault', 'aws'] as const;
const ENTRY = /^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)=(file|vault|aws):(\S+)$/;
const VAULT_KEY = /^https?:\/\/[^\s/?#@]+(?:\/[A-Za-z0-9._-]+)+\/keys\/[A-Za-z0-9._-]+$/;
const AWS_KEY = /^[A-Za-z0-9:/_-]{1,2048}$/;

/** A key of its own that projects may be given, by the name that they know it by. */
export interface NamedKey {
  readonly name: string;
  readonly provider: (typeof PROVIDERS)[number];
  /** The key file, the address of the key at Vault, or the key's ARN. */
  readonly at: string;
}

/** Reads `payments=file:/etc/payments.keys, acme=vault:https://…/keys/acme`. Throws for what is outside that grammar. */
export function parseKeyNames(text: string): NamedKey[] {
  const keys: NamedKey[] = [];
  for (const entry of text.split(',').map((part) => part.trim())) {
    if (entry === '') continue;
    const [, name, provider, at] = ENTRY.exec(entry) ?? [];
    if (name === undefined || at === undefined) throw new Error(`${entry} is not name=file:path, name=vault:address or name=aws:key`);
    if (provider === 'file' && !at.startsWith('/')) throw new Error(`the file of ${name} is no absolute path`);
    if (provider === 'vault' && !VAULT_KEY.test(at)) throw new Error(`the address of ${name} is not that of a key of a transit engine`);
    if (provider === 'aws' && !AWS_KEY.test(at)) throw new Error(`the key of ${name} is no ARN`);
    if (keys.some((key) => key.name === name)) throw new Error(`${name} is given twice`);
    keys.push({ name, provider: provider as NamedKey['provider'], at });
  }
  return keys;
}
