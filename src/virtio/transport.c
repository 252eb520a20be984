/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/transport.c - virtio over PCI, the modern way only (virtio 1.2, 4.1): one BAR with everything in it.
 *
 *	0x0000 common configuration    0x1000 interrupt status    0x2000 the device's own configuration
 *	0x3000 notifications, four bytes a queue    0x4000 MSI-X table    0x5000 MSI-X pending bits
 */
#include "virtio/transport.h"
#include <string.h>

enum { AREA = 0x1000, AT_common = 0, AT_isr = 1, AT_device = 2, AT_notify = 3, AT_msix = 4, AT_pending = 5 };
enum { BAR = 0, NOTIFY_STEP = 4, VIRTIO_VENDOR = 0x1af4, DEVICE_BASE = 0x1040, REVISION = 1, SUBSYSTEM = 0x40 };
enum { CFG_common = 1, CFG_notify = 2, CFG_isr = 3, CFG_device = 4, CFG_pci = 5 };
enum { CAP_LEN = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_SIZE = 16, CAP_EXTRA = 16 };

/* Common configuration (4.1.4.3). */
enum common {
#define C(name, at, size) R_##name = at,
#include "cpu/policy_devices.def"
#undef C
	COMMON_SIZE = 0x38
};
static const struct { uint8_t at, size; } common_table[] = {
#define C(name, at, size) { at, size },
#include "cpu/policy_devices.def"
#undef C
};

/* ---- common configuration ---- */

static uint64_t
common_read(const struct virtio *v, enum common r)
{
	static const struct vq_state none;
	const struct vq_state *q = v->queue_select < v->queues ? &v->queue[v->queue_select] : &none;

	switch (r) {
	case R_device_feature_select: return v->feature_select[0];
	case R_device_feature:
		return v->feature_select[0] > 1 ? 0 : (uint32_t)(v->offered >> 32 * v->feature_select[0]);
	case R_driver_feature_select: return v->feature_select[1];
	case R_driver_feature:
		return v->feature_select[1] > 1 ? 0 : (uint32_t)(v->features >> 32 * v->feature_select[1]);
	case R_config_vector: return v->config_vector;
	case R_num_queues: return v->queues;
	case R_status: return v->status;
	case R_generation: return v->generation;
	case R_queue_select: return v->queue_select;
	case R_queue_size: return q->size;
	case R_queue_vector: return q == &none ? PCI_NO_VECTOR : q->vector;
	case R_queue_enable: return q->enabled;
	case R_queue_notify_off: return v->queue_select < v->queues ? v->queue_select : 0;
	case R_queue_desc: return q->desc;
	case R_queue_driver: return q->driver;
	case R_queue_device: return q->device;
	case COMMON_SIZE: break;
	}
	return 0;
}

static uint16_t
vector_check(const struct virtio *v, uint64_t val)
{
	return val < v->f.vectors ? (uint16_t)val : PCI_NO_VECTOR;
}

/* Registers of the selected queue: pinned once it is enabled or the driver is ready. */
static void
queue_write(struct virtio *v, enum common r, uint64_t val)
{
	struct vq_state *q = virtio_queue_open(v);

	if (q == NULL)
		return;
	switch (r) {
	case R_queue_size:
		if (val <= v->queue_size)
			q->size = (uint16_t)val;
		break;
	case R_queue_vector: q->vector = vector_check(v, val); break;
	case R_queue_enable: q->enabled = val == 1; break;
	case R_queue_desc: q->desc = val; break;
	case R_queue_driver: q->driver = val; break;
	case R_queue_device: q->device = val; break;
	default: break;
	}
}

static void
common_write(struct virtio *v, enum common r, uint64_t val)
{
	switch (r) {
	case R_device_feature_select: v->feature_select[0] = (uint32_t)val; break;
	case R_driver_feature_select: v->feature_select[1] = (uint32_t)val; break;
	case R_driver_feature: virtio_features_write(v, (uint32_t)val); break;
	case R_config_vector: v->config_vector = vector_check(v, val); break;
	case R_status: virtio_status_write(v, (uint8_t)val); break;
	case R_queue_select: v->queue_select = (uint16_t)val; break;
	default: queue_write(v, r, val); break;
	}
}

/* A field by its own width, or a 64-bit one in halves. */
static void
common_io(struct virtio *v, unsigned at, struct io *io)
{
	for (unsigned i = 0; i < sizeof(common_table) / sizeof(common_table[0]); i++) {
		unsigned base = common_table[i].at, size = common_table[i].size, shift = 8 * (at - base);
		uint64_t val, mask;

		if (at - base >= size)
			continue;
		if (io->size != size && !(size == 8 && io->size == 4 && at % 4 == 0))
			return;
		val = common_read(v, (enum common)base);
		mask = io->size == 8 ? UINT64_MAX : (((uint64_t)1 << 8 * io->size) - 1) << shift;
		if (io->write) {
			uint64_t new = (val & ~mask) | io->data << shift;

			if (vm_device_allows(v->vm, i, val, &new))
				common_write(v, (enum common)base, new);
		} else {
			vm_device_shows(v->vm, i, &val);
			io->data = (val & mask) >> shift;
		}
		return;
	}
}

/* ---- the BAR ---- */

static void
bar_io(struct virtio *v, uint64_t at, struct io *io)
{
	unsigned off = at % AREA;

	if (!io->write)
		io->data = 0;
	switch (at / AREA) {
	case AT_common:
		common_io(v, off, io);
		break;
	case AT_isr:
		if (off == 0 && !io->write)
			io->data = virtio_isr_take(v);
		break;
	case AT_device:
		virtio_config_io(v, off, io);
		break;
	case AT_notify:
		if (io->write && off % NOTIFY_STEP == 0)
			virtio_notify_write(v, off / NOTIFY_STEP);
		break;
	case AT_msix:
		pci_msix_table_io(&v->f, off, io);
		break;
	case AT_pending:
		pci_msix_pending_io(&v->f, off, io);
		break;
	}
}

enum io_result
virtio_io(struct dev *d, struct io *io)
{
	struct virtio *v = (struct virtio *)d;
	uint64_t at = io->addr - v->f.bar[BAR].mapped;

	if (io->port || at > (uint64_t)VIRTIO_BAR_SIZE - io->size)
		return IO_none;
	bar_io(v, at, io);
	return IO_done;
}

/* ---- the window in configuration space, for who cannot reach the BAR (4.1.4.9) ---- */

static bool
window_access(struct virtio *v, struct io *io)
{
	const uint8_t *cap = v->f.config + v->window;
	uint32_t at = pci_get32(cap + CAP_OFFSET), len = pci_get32(cap + CAP_LENGTH);

	if (cap[CAP_BAR] != BAR || (len != 1 && len != 2 && len != 4) || at % len != 0 ||
	    at > VIRTIO_BAR_SIZE - len)
		return false;
	io->size = (uint8_t)len;
	bar_io(v, at, io);
	return true;
}

static void
config_written(struct pci_function *f, unsigned at, unsigned size)
{
	struct virtio *v = f->ctx;
	unsigned data = v->window + CAP_EXTRA;
	struct io io = { .write = true, .data = pci_get32(f->config + data) };

	if (at <= data && data < at + size)
		window_access(v, &io);
}

static void
config_reading(struct pci_function *f, unsigned at, unsigned size)
{
	struct virtio *v = f->ctx;
	unsigned data = v->window + CAP_EXTRA;
	struct io io = { .data = 0 };

	if (at < data + 4 && data < at + size && window_access(v, &io))
		memcpy(f->config + data, &io.data, io.size);
}

/* ---- how it shows itself ---- */

static unsigned
capability(struct virtio *v, uint8_t type, unsigned area, uint32_t length, unsigned extra)
{
	unsigned at = pci_function_cap(&v->f, PCI_CAP_vendor, CAP_SIZE + extra);
	uint8_t *c = v->f.config + at;

	c[CAP_LEN] = (uint8_t)(CAP_SIZE + extra);
	c[CAP_TYPE] = type;
	c[CAP_BAR] = BAR;
	pci_put32(c + CAP_OFFSET, area * AREA);
	pci_put32(c + CAP_LENGTH, length);
	return at;
}

void
transport_init(struct virtio *v)
{
	struct pci_identity id = { VIRTIO_VENDOR, (uint16_t)(DEVICE_BASE + v->ops->id), VIRTIO_VENDOR,
		(uint16_t)(SUBSYSTEM + v->ops->id), REVISION, v->ops->pci_class, v->ops->pci_sub, 0 };
	unsigned at;

	pci_function_init(&v->f, &v->dev, &id);
	v->f.ctx = v;
	v->f.written = config_written;
	v->f.reading = config_reading;
	pci_function_bar(&v->f, BAR, VIRTIO_BAR_SIZE);
	pci_function_msix(&v->f, v->queues + 1, BAR, AT_msix * AREA, AT_pending * AREA);
	capability(v, CFG_common, AT_common, COMMON_SIZE, 0);
	capability(v, CFG_isr, AT_isr, 1, 0);
	capability(v, CFG_device, AT_device, VIRTIO_CONFIG_MAX, 0);
	at = capability(v, CFG_notify, AT_notify, NOTIFY_STEP * v->queues, 4);
	pci_put32(v->f.config + at + CAP_EXTRA, NOTIFY_STEP);
	v->window = capability(v, CFG_pci, 0, 0, 4);
	v->f.writable[v->window + CAP_BAR] = 0xff;
	memset(v->f.writable + v->window + CAP_OFFSET, 0xff, 4 + 4 + 4);
}
