import { sqliteData } from './database/testing.ts';
import { outboxContract } from './outbox-contract.ts';

outboxContract('SQLite', sqliteData);
