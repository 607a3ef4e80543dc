/** Line icons of 24 x 24. */

const PATHS = {
  upload: 'M11 16V7.8L7.7 11.1 6.3 9.7 12 4l5.7 5.7-1.4 1.4L13 7.8V16zM5 18h14v2H5z',
  record: 'M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11h2a4 4 0 0 0 8 0h2a6 6 0 0 1-5 5.9V21h-2v-4.1A6 6 0 0 1 6 11z',
  live: 'M3 11h2v2H3zM7 8h2v8H7zM11 4h2v16h-2zM15 8h2v8h-2zM19 11h2v2h-2z',
  compare: 'M4 4h12v3H4zM4 10.5h16v3H4zM4 17h9v3H4z',
  models: 'M4 4h7v3H4zM13 4h7v3h-7zM4 9h16v2H4zM4 13h5v3H4zM11 13h9v3h-9zM4 18h12v2H4z',
  remove: 'M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6 10.6 12 5 6.4z',
  play: 'M8 5v14l11-7z',
  pause: 'M7 5h3.5v14H7zM13.5 5H17v14h-3.5z',
  previous: 'M7 5h2v14H7zM19 5v14l-9-7z',
  next: 'M15 5h2v14h-2zM5 5v14l9-7z',
  zoomOut: 'M4 11h16v2H4z',
  zoomIn: 'M11 4h2v7h7v2h-7v7h-2v-7H4v-2h7z',
  zoomFit: 'M4 6h2v12H4zM18 6h2v12h-2zM7.5 12l3.5-3.5V11h2V8.5l3.5 3.5-3.5 3.5V13h-2v2.5z',
  zoomSegment: 'M4 4h2v16H4zM18 4h2v16h-2zM8 9h8v6H8z',
  loop: 'M17 2l4 4-4 4V7H8a3 3 0 0 0-3 3v1H3v-1a5 5 0 0 1 5-5h9zM7 22l-4-4 4-4v3h9a3 3 0 0 0 3-3v-1h2v1a5 5 0 0 1-5 5H7z',
  spectrogram: 'M4 4h3v5H4zM4 11h3v9H4zM9 8h3v12H9zM9 4h3v2H9zM14 4h3v9h-3zM14 15h3v5h-3zM19 7h2v13h-2z',
  edit: 'M4 17.2V20h2.8l9.6-9.6-2.8-2.8zM18.7 8.1a1 1 0 0 0 0-1.4l-1.4-1.4a1 1 0 0 0-1.4 0l-1.2 1.2 2.8 2.8z',
  undo: 'M12.5 8c-2.6 0-5 1-6.9 2.6L2 7v9h9l-3.6-3.6a8 8 0 0 1 12.7 3.9l2.3-.8A10.500 10.500 0 0 0 12.500 8z',
  redo: 'M11.500 8c2.600 0 5 1 6.900 2.600L22 7v9h-9l3.600-3.600a8 8 0 0 0-12.700 3.900l-2.300-.8A10.500 10.500 0 0 1 11.500 8z',
  help: 'M11 18h2v-2h-2zM12 6a4 4 0 0 0-4 4h2a2 2 0 1 1 4 0c0 2-3 1.800-3 5h2c0-2.200 3-2.500 3-5a4 4 0 0 0-4-4zM12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm0 18a8 8 0 1 1 0-16 8 8 0 0 1 0 16z',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg viewBox="0 0 24 24" class="icon" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
