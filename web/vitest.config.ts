import { defineConfig } from 'vitest/config';

/** Pure modules, in Node.js: what needs a browser is tested in one, by the service's own tests. */
export default defineConfig({ test: { include: ['tests/**/*.test.ts'] } });
