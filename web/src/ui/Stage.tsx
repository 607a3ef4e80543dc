/** What stays in sight while settings are turned: picture, buttons, timeline. */

import { useEffect, useRef } from 'preact/hooks';
import type { Clip } from '../clip/clip';
import { SPEEDS } from '../clip/player';
import { t } from '../text/i18n';
import type { Picture } from '../timeline/picture';
import { clock } from '../timeline/time';
import { IconButton } from './controls';
import { keysShown } from './Keys';
import { Minimap } from './Minimap';
import { Timeline } from './Timeline';

export function Stage({ clip, wave }: { clip: Clip; wave: Picture }) {
  return (
    <div class="stage">
      {clip.player.isVideo && <Screen clip={clip} />}
      <Transport clip={clip} />
      <div class="view">
        {clip.isZoomed.value && <Minimap clip={clip} picture={wave} />}
        <Timeline clip={clip} wave={wave} />
      </div>
      {clip.editing.active.value && <EditBar clip={clip} />}
    </div>
  );
}

/** The picture of a video. */
function Screen({ clip }: { clip: Clip }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    place.current?.replaceChildren(clip.player.media);
  }, [clip]);
  return <div class="screen" ref={place} />;
}

function Transport({ clip }: { clip: Clip }) {
  const { player } = clip;
  const playing = player.playing.value;
  const nothing = clip.current.value === null;
  return (
    <div class="toolbar" role="group" aria-label={t('playback')}>
      <IconButton icon={playing ? 'pause' : 'play'} label={playing ? 'pause' : 'play'} run={() => player.playPause()} kind="primary" />
      <IconButton icon="previous" label="previous" run={() => clip.step(-1)} />
      <IconButton icon="next" label="next" run={() => clip.step(1)} />
      <IconButton icon="loop" label="loop" run={() => toggle(player.loops)} pressed={player.loops.value} />
      <Speed clip={clip} />
      <Time clip={clip} />
      <span class="spring" />
      <IconButton
        icon="spectrogram"
        label="spectrogram"
        run={() => toggle(clip.spectrogram)}
        pressed={clip.spectrogram.value}
        disabled={clip.noSpectrogram.value !== null}
      />
      <IconButton icon="zoomOut" label="zoomOut" run={() => clip.zoomBy(0.5)} />
      <IconButton icon="zoomIn" label="zoomIn" run={() => clip.zoomBy(2)} />
      <IconButton icon="zoomSegment" label="zoomSegment" run={() => clip.zoomToCurrent()} disabled={nothing} />
      <IconButton icon="zoomFit" label="zoomFit" run={() => clip.fit()} />
      <IconButton icon="help" label="keysTitle" run={() => (keysShown.value = true)} kind="wide-only" />
    </div>
  );
}

function toggle(flag: { value: boolean }): void {
  flag.value = !flag.value;
}

function Speed({ clip }: { clip: Clip }) {
  const { player } = clip;
  return (
    <select
      class="speed"
      aria-label={t('speed')}
      title={t('speed')}
      value={String(player.speed.value)}
      onChange={(event) => player.setSpeed(Number(event.currentTarget.value))}
    >
      {SPEEDS.map((speed) => (
        <option key={speed} value={String(speed)}>
          {speed}×
        </option>
      ))}
    </select>
  );
}

function Time({ clip }: { clip: Clip }) {
  return (
    <output class="time" aria-label={t('position')} aria-live="off">
      {clock(clip.player.timeMs.value)} / {clock(clip.durationMs.value)}
    </output>
  );
}

/** What can be done to the corrected segment that is chosen. */
function EditBar({ clip }: { clip: Clip }) {
  const { editing, player } = clip;
  const mark = editing.selectedMark;
  const at = player.timeMs.value;
  const inside = mark !== null && at > mark.start_ms && at < mark.end_ms;
  return (
    <div class="toolbar edit" role="group" aria-label={t('editing')}>
      <IconButton icon="undo" label="undo" run={() => editing.undo()} disabled={!editing.canUndo.value} />
      <IconButton icon="redo" label="redo" run={() => editing.redo()} disabled={!editing.canRedo.value} />
      <button type="button" onClick={() => editing.add(at)}>
        {t('markAdd')}
      </button>
      <button type="button" disabled={!inside} onClick={() => mark && editing.split(mark.id, at)}>
        {t('markSplit')}
      </button>
      <button type="button" disabled={!mark} onClick={() => mark && editing.merge(mark.id)}>
        {t('markMerge')}
      </button>
      <button type="button" disabled={!mark} onClick={() => mark && editing.remove(mark.id)}>
        {t('markDelete')}
      </button>
    </div>
  );
}
