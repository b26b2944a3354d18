"""The class names and templates of the cases. ImageNet's are those that open_clip's package carries."""
import importlib.util
import pathlib

OFFICE_HOME = """Alarm_Clock Backpack Batteries Bed Bike Bottle Bucket Calculator Calendar Candles Chair Clipboards Computer Couch
Curtains Desk_Lamp Drill Eraser Exit_Sign Fan File_Cabinet Flipflops Flowers Folder Fork Glasses Hammer Helmet Kettle Keyboard Knives
Lamp_Shade Laptop Marker Monitor Mop Mouse Mug Notebook Oven Pan Paper_Clip Pen Pencil Postit_Notes Printer Push_Pin Radio Refrigerator
Ruler Scissors Screwdriver Shelf Sink Sneakers Soda Speaker Spoon TV Table Telephone ToothBrush Toys Trash_Can Webcam""".split()


def imagenet():
    """The 1000 names and the 80 templates with {} for the name, read without importing open_clip itself."""
    folder = pathlib.Path(importlib.util.find_spec("open_clip").origin).parent
    description = importlib.util.spec_from_file_location("zero_shot_metadata", folder / "zero_shot_metadata.py")
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return list(module.IMAGENET_CLASSNAMES), [template("{}") for template in module.OPENAI_IMAGENET_TEMPLATES]
