import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

const SERVICE = process.env.VAD_SERVICE ?? 'http://127.0.0.1:8000';

/** What the API's reference at `/docs` is made of, each from its place. */
const REFERENCE = {
  'index.html': 'docs/index.html',
  'start.js': 'docs/start.js',
  'swagger-ui.css': 'node_modules/swagger-ui-dist/swagger-ui.css',
  'swagger-ui-bundle.js': 'node_modules/swagger-ui-dist/swagger-ui-bundle.js',
  'swagger-ui-bundle.js.LICENSE.txt': 'node_modules/swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt',
};

/** Swagger UI is not of the page: it is put beside it as it is. */
function reference(): Plugin {
  return {
    name: 'reference',
    generateBundle() {
      for (const [name, from] of Object.entries(REFERENCE)) {
        this.emitFile({ type: 'asset', fileName: `docs/${name}`, source: readFileSync(from) });
      }
    },
  };
}

export default defineConfig({
  plugins: [reference()],
  // Relative: the service may stand behind a proxy's path prefix.
  base: './',
  build: {
    outDir: '../app/web/static',
    emptyOutDir: true,
    target: 'es2023',
    // Everything is a file of its own: the Content-Security-Policy allows no data: scripts or styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 150,
  },
  server: {
    proxy: Object.fromEntries(
      ['/vad', '/analyses', '/models', '/options', '/health', '/render', '/sample.wav'].map((path) => [
        path,
        { target: SERVICE, ws: true },
      ]),
    ),
  },
});
