import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
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

const OUT = '../app/web/static';
/** Smaller files would gain less than a packet. */
const LEAST_BYTES = 1400;

/** The service sends these where a browser takes gzip: compressed once, here, and not with every visit. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    closeBundle() {
      for (const entry of readdirSync(OUT, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(js|css|html|svg)$/.test(entry.name)) continue;
        const path = `${entry.parentPath}/${entry.name}`;
        const content = readFileSync(path);
        if (content.length >= LEAST_BYTES) writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  plugins: [reference(), compressed()],
  // Relative: the service may stand behind a proxy's path prefix.
  base: './',
  // Of what it writes, file by file, nobody needs to know.
  logLevel: 'warn',
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: 'es2023',
    // Everything is a file of its own: the Content-Security-Policy allows no data: scripts or styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 200,
    reportCompressedSize: false,
  },
  server: {
    // app/texts, which the service has, too.
    fs: { allow: ['..'] },
    proxy: Object.fromEntries(
      ['/vad', '/analyses', '/models', '/options', '/health', '/render', '/sample.wav'].map((path) => [
        path,
        { target: SERVICE, ws: true },
      ]),
    ),
  },
});
