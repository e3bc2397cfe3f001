package cpu

import "golang.org/x/sys/cpu"

// native is the fastest kernels of this machine.
var native = func() kernels {
	if hasAVX2 {
		return kernels{packAcrossAVX2, packAlongAVX2, tilesAVX2}
	}
	return portable
}()

// hasAVX2 says that both the processor and the operating system have the instructions of the assembly.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

const floatBytes = 4

// stripsAtOnce is how many panels are filled side by side: wide enough to use whole cache lines and pages of the
// source, few enough for the store buffers.
const stripsAtOnce = 8

func packAcrossAVX2(dst []float32, panelStride, w int, src []float32, stride, lines, depth int) {
	_ = src[(depth-1)*stride+lines-1]
	_ = dst[ceil(lines, w)*panelStride-1]
	for p := 0; p < lines; {
		strips, width := min((lines-p)/w, stripsAtOnce), w
		if strips == 0 {
			strips, width = 1, lines-p
		}
		acrossAVX2(&dst[p/w*panelStride], panelStride*floatBytes, w*floatBytes, &src[p], stride*floatBytes,
			depth, strips, &laneMasks[8-width])
		p += strips * width
	}
}

// laneMasks[8-n:] is a mask of the first n of eight lanes.
var laneMasks = [16]int32{-1, -1, -1, -1, -1, -1, -1, -1}

func packAlongAVX2(dst []float32, panelStride, w int, src []float32, stride, lines, depth int) {
	_ = src[(lines-1)*stride+depth-1]
	_ = dst[ceil(lines, w)*panelStride-1]
	whole := depth &^ 7
	for p := 0; p < lines; p += w {
		panel := dst[p/w*panelStride:]
		if whole > 0 {
			var from [8]*float32
			for i := range from {
				from[i] = &src[min(p+i, lines-1)*stride] // repeats the last line as padding
			}
			alongAVX2(&panel[0], w*floatBytes, &from, whole/8)
		}
		if whole < depth {
			packAlongGo(panel[whole*w:], panelStride, w, src[p*stride+whole:], stride, min(w, lines-p), depth-whole)
		}
	}
}

func tilesAVX2(tiles, depth int, a []float32, aStride int, b []float32, bStride int, c []float32, ldc int, load bool) {
	if tiles == 0 {
		return
	}
	_ = a[(tiles-1)*aStride+tileRows*depth-1]
	_ = b[bStride+panelCols*depth-1]
	_ = c[(tiles*tileRows-1)*ldc+tileCols-1]
	tiles6x16(tiles, depth, &a[0], aStride*floatBytes, &b[0], bStride*floatBytes, &c[0], ldc*floatBytes, load)
}

// Strides of the assembly functions are in bytes.

//go:noescape
func tiles6x16(tiles, depth int, a *float32, aStride int, b *float32, bStride int, c *float32, ldc int, load bool)

//go:noescape
func acrossAVX2(dst *float32, panelStride, rowBytes int, src *float32, stride, depth, strips int, mask *int32)

//go:noescape
func alongAVX2(dst *float32, rowBytes int, from *[8]*float32, blocks int)
