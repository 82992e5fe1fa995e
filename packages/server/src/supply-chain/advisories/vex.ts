import { PackageURL } from 'packageurl-js';
import { type Fields, fieldsOf, listOf } from './json.ts';

/** How a product stands to a vulnerability (OpenVEX 0.2.0, section "Status Labels"; CSAF 2.0, section 3.2.3.9). */
export type VexStatus = 'not_affected' | 'affected' | 'fixed' | 'under_investigation';

/** What one statement says, of one product, or of one part of it. */
export interface VexStatement {
  /** Names of the vulnerability: its own and its aliases. */
  readonly vulnerabilities: readonly string[];
  readonly status: VexStatus;
  /** Why it does not affect; free text or one of the five words of OpenVEX. */
  readonly justification: string;
  /** Milliseconds since 1970; of several statements of one thing the last counts. */
  readonly at: number;
  /** An image by digest (`sha256:…`) or a package URL; absent: whatever the document is attached to. */
  readonly product?: string;
  /** Package URLs in the product that it is about; empty: the product itself. */
  readonly parts: readonly string[];
}

/** A document that is no VEX, or beyond what is read. */
export class VexError extends Error {
  override name = 'VexError';
}

const MAX_STATEMENTS = 50_000;
const STATUSES: readonly VexStatus[] = ['not_affected', 'affected', 'fixed', 'under_investigation'];

/** Statements of an OpenVEX document or a CSAF 2 document of category VEX. Throws VexError for what is neither. */
export function statementsOfVex(document: unknown): readonly VexStatement[] {
  const fields = fieldsOf(document);
  const context = fields?.['@context'];
  if (typeof context === 'string' && context.startsWith('https://openvex.dev/ns')) return bounded(openVex(fields ?? {}));
  const category = fieldsOf(fields?.document)?.category;
  if (typeof category === 'string' && /^csaf_(?:vex|security_advisory)$/.test(category)) return bounded(csaf(fields ?? {}));
  throw new VexError('the document is neither OpenVEX nor CSAF');
}

function bounded(statements: readonly VexStatement[]): readonly VexStatement[] {
  if (statements.length > MAX_STATEMENTS) throw new VexError(`the document has more than ${MAX_STATEMENTS} statements`);
  return statements;
}

function openVex(fields: Fields): VexStatement[] {
  const documentAt = timeOf(fields.last_updated) ?? timeOf(fields.timestamp) ?? 0;
  return listOf(fields.statements).flatMap((one) => {
    const statement = fieldsOf(one) ?? {};
    const status = STATUSES.find((known) => known === statement.status);
    if (!status) throw new VexError('a statement has no status');
    // 0.0.1 wrote the name itself.
    const vulnerability = fieldsOf(statement.vulnerability) ?? { name: statement.vulnerability };
    const vulnerabilities = [vulnerability.name, ...listOf(vulnerability.aliases)].filter(isText);
    if (vulnerabilities.length === 0) throw new VexError('a statement names no vulnerability');
    const common = {
      vulnerabilities,
      status,
      justification: [statement.justification, statement.impact_statement].filter(isText).join(': ').slice(0, 1000),
      at: timeOf(statement.last_updated) ?? timeOf(statement.timestamp) ?? documentAt,
    };
    const products = listOf(statement.products).map((product) => (isText(product) ? { '@id': product } : (fieldsOf(product) ?? {})));
    if (products.length === 0) return [{ ...common, parts: [] }];
    return products.map((product) => {
      const name = productName(product);
      const parts = listOf(product.subcomponents).flatMap(
        (part) => productName(isText(part) ? { '@id': part } : (fieldsOf(part) ?? {})) ?? [],
      );
      return { ...common, ...(name === undefined ? {} : { product: name }), parts };
    });
  });
}

function productName(product: Fields): string | undefined {
  const { purl } = fieldsOf(product.identifiers) ?? {};
  const id = [purl, product['@id']].find(isText);
  return id === undefined ? undefined : (digestIn(id) ?? id);
}

/** The digest of an image that a package URL names (`pkg:oci/app@sha256%3A…`). */
function digestIn(id: string): string | undefined {
  if (!id.startsWith('pkg:oci/') && !id.startsWith('pkg:docker/')) return /^sha256:[0-9a-f]{64}$/.test(id) ? id : undefined;
  try {
    const { version } = PackageURL.fromString(id);
    return typeof version === 'string' && /^sha(?:256|512):[0-9a-f]+$/.test(version) ? version : undefined;
  } catch {
    return undefined;
  }
}

const CSAF_STATUSES: readonly (readonly [string, VexStatus])[] = [
  ['known_not_affected', 'not_affected'],
  ['known_affected', 'affected'],
  ['first_affected', 'affected'],
  ['last_affected', 'affected'],
  ['fixed', 'fixed'],
  ['first_fixed', 'fixed'],
  ['under_investigation', 'under_investigation'],
];

function csaf(fields: Fields): VexStatement[] {
  const tracking = fieldsOf(fieldsOf(fields.document)?.tracking) ?? {};
  const at = timeOf(tracking.current_release_date) ?? 0;
  const products = new Map<string, Placed>();
  collectProducts(listOf(fieldsOf(fields.product_tree)?.branches), products, 0);
  for (const product of listOf(fieldsOf(fields.product_tree)?.full_product_names)) addProduct(product, products);
  for (const one of listOf(fieldsOf(fields.product_tree)?.relationships)) addRelationship(fieldsOf(one) ?? {}, products);
  return listOf(fields.vulnerabilities).flatMap((one) => {
    const vulnerability = fieldsOf(one) ?? {};
    const ids = listOf(vulnerability.ids).map((id) => fieldsOf(id)?.text);
    const vulnerabilities = [vulnerability.cve, ...ids].filter(isText);
    const status = fieldsOf(vulnerability.product_status) ?? {};
    return CSAF_STATUSES.flatMap(([key, meaning]) =>
      listOf(status[key]).flatMap((id): VexStatement[] => {
        const placed = isText(id) ? products.get(id) : undefined;
        if (!placed || vulnerabilities.length === 0) return [];
        const justification = justificationOf(vulnerability, String(id));
        return [{ vulnerabilities, status: meaning, justification, at, ...placed }];
      }),
    );
  });
}

interface Placed {
  readonly product: string;
  readonly parts: readonly string[];
}

/** Vendors, products and versions are a tree of any depth. */
function collectProducts(branches: readonly unknown[], into: Map<string, Placed>, depth: number): void {
  if (depth > 32) throw new VexError('the tree of products is too deep');
  for (const branch of branches) {
    const fields = fieldsOf(branch) ?? {};
    addProduct(fields.product, into);
    collectProducts(listOf(fields.branches), into, depth + 1);
  }
}

function addProduct(product: unknown, into: Map<string, Placed>): void {
  const fields = fieldsOf(product);
  const id = fields?.product_id;
  const { purl } = fieldsOf(fields?.product_identification_helper) ?? {};
  if (isText(id) && isText(purl)) into.set(id, { product: digestIn(purl) ?? purl, parts: [] });
}

/** `a` as a component of `b` has an id of its own. */
function addRelationship(relationship: Fields, into: Map<string, Placed>): void {
  const id = fieldsOf(relationship.full_product_name)?.product_id;
  const [part, whole] = [relationship.product_reference, relationship.relates_to_product_reference].map((one) =>
    isText(one) ? into.get(one) : undefined,
  );
  if (isText(id) && part) into.set(id, { product: whole?.product ?? part.product, parts: whole ? [part.product] : [] });
}

function justificationOf(vulnerability: Fields, product: string): string {
  const flag = listOf(vulnerability.flags)
    .map(fieldsOf)
    .find((one) => listOf(one?.product_ids).includes(product));
  return isText(flag?.label) ? flag.label.slice(0, 1000) : '';
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 2000;
}

function timeOf(value: unknown): number | undefined {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}
