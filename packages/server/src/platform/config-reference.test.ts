import { expect, test } from 'vitest';
import { configReference } from './config-reference.ts';

test('the configuration reference is what the schema says', async () => {
  await expect(configReference()).toMatchFileSnapshot('../../../../docs/reference/configuration.md');
});
